// -it: a real terminal from end to end.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, sleep } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
  await world.ok(['run', '--rm', 'busybox', 'true'])
})
afterAll(() => world.dispose())

describe.each(['-it', '-ti'])('run %s', flag => {
  test('gives the command a terminal of the size of ours', async () => {
    const terminal = await world.terminal(['run', '--rm', flag, 'busybox', 'sh', '-c', 'tty; stty size'], {
      rows: 31,
      columns: 97,
    })

    await terminal.waitFor(/\/dev\/(pts\/\d+|console)\s+31 97/)
    expect((await terminal.finished()).code).toBe(0)
  })
})

describe('run -it', () => {
  test('is a shell to type into, and passes on its exit code', async () => {
    const terminal = await world.terminal(['run', '--rm', '-it', 'busybox', 'sh'])
    await terminal.waitFor(/# /)

    terminal.type('echo $((40 + 2))\r')
    await terminal.waitFor(/\n42\r/)
    terminal.type('exit 7\r')

    expect((await terminal.finished()).code).toBe(7)
  })

  test('shows the bytes of the container as they are: the terminal adds nothing to them', async () => {
    const terminal = await world.terminal([
      'run',
      '--rm',
      '-it',
      'busybox',
      'sh',
      '-c',
      'stty -opost; printf "a\\nb\\r\\nc"',
    ])

    await terminal.finished()

    expect(terminal.output()).toContain('a\nb\r\nc')
  })

  test('ends with Ctrl-D', async () => {
    const terminal = await world.terminal(['run', '--rm', '-it', 'busybox', 'sh'])
    await terminal.waitFor(/# /)

    terminal.type('\x04')

    expect((await terminal.finished()).code).toBe(0)
  })

  /** A shell in a terminal, in which `sleep` is the foreground process. */
  const openSleeping = async () => {
    const terminal = await world.terminal(['run', '--rm', '-it', '--name', 'sleeper', 'busybox', 'sh'])
    await terminal.waitFor(/# /)
    terminal.type('sleep 1000\r')
    await eventually('it sleeps', async () =>
      (await world.tsrun(['exec', 'sleeper', 'ps'])).stdout.includes('sleep 1000'),
    )
    return terminal
  }

  test('passes Ctrl-C to the command, not to the client', async () => {
    const terminal = await openSleeping()

    terminal.type('\x03')
    terminal.type('echo still here $?\r')

    await terminal.waitFor(/still here 130/)
    terminal.type('exit\r')
    await terminal.finished()
  })

  test('passes Ctrl-Z to the shell inside', async () => {
    const terminal = await openSleeping()

    terminal.type('\x1a')

    await terminal.waitFor(/Stopped/)
    await world.ok(['rm', '-f', 'sleeper'])
    expect((await terminal.finished()).code).toBe(137)
  })

  test.each([
    ['ctrl-p ctrl-q in one go', [], ['\x10\x11']],
    ['ctrl-p, then ctrl-q', [], ['\x10', '\x11']],
    ['the keys of --detach-keys', ['--detach-keys', 'ctrl-a,x'], ['\x01', 'x']],
  ])('%s leave an idle shell as it is, for attach to join again', async (_, flags, keys) => {
    const terminal = await world.terminal(['run', '-it', '--name', 'left', ...flags, 'busybox', 'sh'])
    await terminal.waitFor(/# /)
    terminal.type('name=kept\r')
    for (const key of keys) {
      terminal.type(key)
      await sleep(50)
    }
    const { code, before, after } = await terminal.finished()
    expect(code).toBe(0)
    expect(after).toBe(before)

    const detached = ['events', '--since', '1m', '--until', '0s', '-f', 'event=detach', '-f', 'container=left']
    expect((await world.ok([...detached, '--format', '{{.Action}}'])).split('\n').at(-1)).toBe('detach')

    const again = await world.terminal(['attach', 'left'])
    await eventually('the terminal is raw', async () => (await again.settings()).includes('-icanon'))
    again.type('echo "still $name"; exit 5\r')
    await again.waitFor(/still kept/)
    expect((await again.finished()).code).toBe(5)
    await world.ok(['rm', 'left'])
  })

  test('tells the command when the window changes its size', async () => {
    const terminal = await world.terminal([
      'run',
      '--rm',
      '-it',
      '--name',
      'resized',
      'busybox',
      'sh',
      '-c',
      'trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done',
    ])
    await terminal.waitFor(/ready/)

    await terminal.resize(40, 120)

    await terminal.waitFor(/40 120/)
    await terminal.resize(20, 60)
    await terminal.waitFor(/20 60/)
    await world.ok(['rm', '-f', 'resized'])
    await terminal.finished()
  })

  const endings: [string, string[], string][] = [
    ['when the command ends', ['sh', '-c', 'exit 0'], ''],
    ['when the command is not found', ['nonsense'], ''],
    ['when the command is killed', ['sh', '-c', 'kill -9 $$'], ''],
  ]
  test.each(endings)('restores the terminal %s', async (_, command) => {
    const terminal = await world.terminal(['run', '--rm', '-it', 'busybox', ...command])

    const { before, after } = await terminal.finished()

    expect(after).toBe(before)
  })

  test.each(['TERM', 'HUP', 'INT'])('restores the terminal when the client gets SIG%s', async signal => {
    const terminal = await world.terminal([
      'run',
      '--rm',
      '-it',
      '--init',
      '--name',
      'victim',
      'busybox',
      'sleep',
      '1000',
    ])
    await eventually('it runs', async () => (await world.tsrun(['ps', '-q'])).stdout !== '')
    await eventually('the terminal is raw', async () => (await terminal.settings()).includes('-icanon'))

    await world.host.sh(`
      for stat in /proc/[0-9]*; do
        if tr '\\0' ' ' < $stat/cmdline 2>/dev/null | grep -q -- '^[^ ]*\\(tsrun\\|node\\) .*--name victim'; then kill -${signal} \${stat#/proc/}; fi
      done`)

    const { before, after } = await terminal.finished()
    expect(after).toBe(before)
    await world.tsrun(['rm', '-f', 'victim'])
  })

  test('is refused where stdin is no terminal', async () => {
    expectError(await world.tsrun(['run', '--rm', '-it', 'busybox', 'sh']), 125, /terminal|tty/i)
  })

  test('-t alone gives a terminal whose output is carriage return and line feed', async () => {
    const result = await world.tsrun(['run', '--rm', '-t', 'busybox', 'sh', '-c', 'tty > /dev/null && echo yes'])

    expect(result.stdout).toBe('yes\r\n')
  })
})

describe('exec -it', () => {
  test('gives a terminal of its own, with its size and exit code', async () => {
    await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])

    const terminal = await world.terminal(['exec', '-it', 'box', 'sh'], { rows: 33, columns: 99 })
    await terminal.waitFor(/# /)
    terminal.type('stty size; exit 4\r')

    await terminal.waitFor(/33 99/)
    const { code, before, after } = await terminal.finished()
    expect(code).toBe(4)
    expect(after).toBe(before)
    await world.ok(['rm', '-f', 'box'])
  })
})

describe('closing the terminal', () => {
  test('does not end a container that was started with -d from it', async () => {
    const terminal = await world.terminal(['run', '-d', '--name', 'kept', 'busybox', 'sleep', '1000'])
    await terminal.finished()
    await terminal.close()

    expect(await world.ok(['ps', '--filter', 'name=kept', '--format', '{{.Names}}'])).toBe('kept')
    await world.ok(['rm', '-f', 'kept'])
  })

  test('of a container with -it leaves its shell, and rm -f leaves nothing', async () => {
    const before = await world.settled()
    const terminal = await world.terminal(['run', '--rm', '-it', '--name', 'closed', 'busybox', 'sh'])
    await terminal.waitFor(/# /)

    await terminal.close()

    // As in docker: the container goes on without a window until somebody ends it.
    expect(await world.ok(['exec', 'closed', 'echo', 'alive'])).toBe('alive')
    await world.ok(['rm', '-f', 'closed'])
    expect(await world.changesSince(before, { ignore: [/terminal-/, /ipam/] })).toEqual([])
  })
})
