// ps, stop, kill, rm, logs, exec, inspect, wait.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, sleep } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { inWorld, World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterAll(() => world.dispose())

/** Runs `test` beside a container that does `script` until it is removed. */
async function withContainer(script: string, test: (id: string) => Promise<void>, flags: string[] = []): Promise<void> {
  const id = await world.ok(['run', '-d', '--name', 'box', ...flags, 'busybox', 'sh', '-c', script])
  try {
    await test(id)
  } finally {
    await world.tsrun(['rm', '-f', id])
  }
}

const forever = 'trap "exit 0" TERM; while :; do sleep 0.05; done'

describe('ps', () => {
  test('shows what runs, in the columns of docker', async () => {
    await withContainer(
      forever,
      async id => {
        const [head, line] = (await world.ok(['ps'])).split('\n')

        expect(head).toMatch(/^CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES *$/)
        expect(line).toMatch(
          new RegExp(
            `^${id.slice(0, 12)} +busybox\\S* +"sh -c .*" +.* ago +Up .* +0\\.0\\.0\\.0:8080->80/tcp.* +box *$`,
          ),
        )
      },
      ['-p', '8080:80'],
    )
  })

  test('-a shows what has ended, with its exit code', async () => {
    await world.tsrun(['run', '--name', 'ended', 'busybox', 'sh', '-c', 'exit 3'])

    expect(await world.ok(['ps', '-q'])).toBe('')
    expect(await world.ok(['ps', '-a'])).toMatch(/Exited \(3\) .* ago .*ended/)
    await world.ok(['rm', 'ended'])
  })

  test('is empty but for its head when nothing runs', async () => {
    expect((await world.ok(['ps'])).split('\n')).toHaveLength(1)
    expect(await world.ok(['ps', '-q'])).toBe('')
  })
})

describe('stop', () => {
  test('sends SIGTERM, and the exit code is that of the command', async () => {
    await withContainer('trap "exit 4" TERM; echo ready; while :; do sleep 0.05; done', async () => {
      await eventually('it is ready', async () => (await world.ok(['logs', 'box'])).includes('ready'))
      expect(await world.ok(['stop', 'box'])).toBe('box')

      const [{ State }] = await world.json(['inspect', 'box'])
      expect(State).toMatchObject({ Status: 'exited', Running: false, ExitCode: 4, Pid: 0 })
    })
  })

  test('asks several at once, and names them in the order of the words', async () => {
    const names = ['one', 'two', 'three']
    for (const name of names)
      await world.ok(['run', '-d', '--name', name, 'busybox', 'sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done'])
    try {
      expect(await world.ok(['stop', '-t', '1', ...names])).toBe(names.join('\n'))

      const told = await world.ok([
        'events',
        '--since',
        '1m',
        '--until',
        '0s',
        '--format',
        '{{.Action}} {{.Actor.Attributes.signal}}',
      ])
      const ends = told.split('\n').filter(line => /^(kill 15|die)/.test(line))
      // All were asked before the first one was given up.
      expect(ends.slice(-6).map(line => line.split(' ')[0])).toEqual(['kill', 'kill', 'kill', 'die', 'die', 'die'])
    } finally {
      await world.tsrun(['rm', '-f', ...names])
    }
  })

  test('-t 1 sends SIGKILL after a second', async () => {
    await withContainer('trap "" TERM; echo ready; while :; do sleep 0.05; done', async () => {
      await eventually('it is ready', async () => (await world.ok(['logs', 'box'])).includes('ready'))
      const started = Date.now()

      await world.ok(['stop', '-t', '1', 'box'])

      const took = Date.now() - started
      expect(took).toBeGreaterThan(900)
      expect(took).toBeLessThan(5000)
      const [{ State }] = await world.json(['inspect', 'box'])
      expect(State.ExitCode).toBe(137)
    })
  })

  test('of a container that has ended is no error', async () => {
    await withContainer('true', async () => {
      await world.tsrun(['wait', 'box'])

      expect(await world.ok(['stop', 'box'])).toBe('box')
    })
  })

  test('takes several, and says which are unknown', async () => {
    await withContainer(forever, async () => {
      const { stdout, stderr, code } = await world.tsrun(['stop', 'nobody', 'box'])

      expect(stdout).toBe('box\n')
      expect(stderr).toMatch(/tsrun: .*"nobody"/)
      expect(code).toBe(1)
    })
  })

  test('releases address and port before it returns', async () => {
    await withContainer(forever, async () => {
      await world.ok(['stop', 'box'])

      const again = await world.ok(['run', '-d', '-p', '8080:80', 'busybox', 'sleep', '1000'])
      await world.ok(['rm', '-f', again])
    }, ['-p', '8080:80'])
  })
})

describe('start', () => {
  test('runs a stopped container again, with what it had written', async () => {
    await withContainer('cat /note 2>/dev/null; echo once >> /note; sleep 1000', async () => {
      await eventually('it wrote', async () => (await world.tsrun(['exec', 'box', 'cat', '/note'])).stdout === 'once\n')
      await world.ok(['kill', 'box'])
      await world.tsrun(['wait', 'box'])

      expect(await world.ok(['start', 'box'])).toBe('box')

      await eventually('it read', async () => (await world.ok(['logs', 'box'])).includes('once'))
      expect(await world.ok(['ps', '--format', '{{.Names}}'])).toBe('box')
    })
  })
})

describe('kill', () => {
  test('sends SIGKILL', async () => {
    await withContainer(forever, async () => {
      expect(await world.ok(['kill', 'box'])).toBe('box')

      expect(await world.ok(['wait', 'box'])).toBe('137')
    })
  })

  test.each(['USR1', 'SIGUSR1', '10'])('-s %s sends that signal', async signal => {
    await withContainer('trap "exit 5" USR1; echo ready; while :; do sleep 0.05; done', async () => {
      await eventually('it is ready', async () => (await world.ok(['logs', 'box'])).includes('ready'))

      await world.ok(['kill', '-s', signal, 'box'])

      expect(await world.ok(['wait', 'box'])).toBe('5')
    })
  })

  test('of a container that does not run is an error', async () => {
    await withContainer('true', async () => {
      await world.tsrun(['wait', 'box'])

      expectError(await world.tsrun(['kill', 'box']), 1, /"box".*not running/)
    })
  })

  test('refuses an unknown signal', async () => {
    await withContainer(forever, async () => {
      expectError(await world.tsrun(['kill', '-s', 'NONSENSE', 'box']), 1, /NONSENSE/)
    })
  })
})

describe('rm', () => {
  test('removes many at once; what is not there fails alone', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `box${index}`)
    for (const name of names) await world.ok(['run', '-d', '--name', name, '-p', '80', 'busybox', 'sleep', '1000'])

    const result = await world.tsrun(['rm', '-f', '-v', ...names.slice(0, 6), ...names.slice(6)])

    expect(result).toMatchObject({ code: 0, stdout: names.map(name => `${name}\n`).join('') })
    const again = await world.tsrun(['rm', 'box1', 'box2'])
    expect(again).toMatchObject({ code: 1, stdout: '' })
    expect(again.stderr).toMatch(/no such container: "box1"[\s\S]*no such container: "box2"/)
    expect(await world.ok(['ps', '-aq'])).toBe('')
  })

  test('removes what has ended', async () => {
    await world.tsrun(['run', '--name', 'a', 'busybox', 'true'])
    const b = await world.ok(['run', '-d', '--name', 'b', 'busybox', 'true'])
    await world.tsrun(['wait', 'b'])

    expect(await world.ok(['rm', 'a', b.slice(0, 8)])).toBe(`a\n${b.slice(0, 8)}`)
    expect(await world.ok(['ps', '-aq'])).toBe('')
  })

  test('refuses what runs, and removes it with -f', async () => {
    await withContainer(forever, async () => {
      const result = await world.tsrun(['rm', 'box'])
      expectError(result, 1, /"box".*running/)
      expect(result.stderr).toContain('hint:')

      expect(await world.ok(['rm', '-f', 'box'])).toBe('box')
      expect(await world.ok(['ps', '-aq'])).toBe('')
    })
  })

  test('of an unknown container is an error', async () => {
    expectError(await world.tsrun(['rm', 'nobody']), 1, /"nobody"/)
  })
})

describe('logs', () => {
  test('shows both streams, each on its own', async () => {
    await withContainer('echo out; echo err >&2', async () => {
      await world.tsrun(['wait', 'box'])

      expect(await world.tsrun(['logs', 'box'])).toMatchObject({ stdout: 'out\n', stderr: 'err\n', code: 0 })
    })
  })

  test('-f follows until the container ends', async () => {
    await withContainer('for n in 1 2 3 4 5; do echo line $n; sleep 0.2; done', async () => {
      const started = Date.now()

      const { stdout, code } = await world.tsrun(['logs', '-f', 'box'])

      expect(stdout).toBe('line 1\nline 2\nline 3\nline 4\nline 5\n')
      expect(code).toBe(0)
      expect(Date.now() - started).toBeLessThan(5000)
    })
  })

  test('-f shows a line when it is written', async () => {
    await withContainer('echo first; read line; echo never', async () => {
      const running = world.start(['logs', '-f', 'box'])
      await running.waitFor(/first/)

      running.kill('SIGINT')
      expect((await running.result).stdout).toBe('first\n')
    }, ['-i'])
  })

  test('--tail shows the last lines, -t puts the time before each', async () => {
    await withContainer('seq 100', async () => {
      await world.tsrun(['wait', 'box'])

      expect(await world.ok(['logs', '--tail', '2', 'box'])).toBe('99\n100')
      expect(await world.ok(['logs', '-t', '--tail', '1', 'box'])).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z 100$/)
    })
  })

  test('keeps what is no text, and long lines whole', async () => {
    await withContainer('head -c 100000 /dev/zero | tr "\\0" x; echo; printf "\\377\\376\\n"', async () => {
      await world.tsrun(['wait', 'box'])

      const { stdout } = await world.tsrun(['logs', 'box'])
      expect(stdout.split('\n')[0]).toBe('x'.repeat(100_000))
    })
  })

  test('of an unknown container is an error', async () => {
    expectError(await world.tsrun(['logs', 'nobody']), 1, /"nobody"/)
  })
})

describe('exec', () => {
  test('runs a command in the namespaces of the container', async () => {
    await withContainer(
      forever,
      async id => {
        expect(await world.ok(['exec', 'box', 'hostname'])).toBe(id.slice(0, 12))
        expect(await world.ok(['exec', 'box', 'cat', '/proc/1/comm'])).toBe('sh')
        expect(await world.ok(['exec', 'box', 'sh', '-c', 'echo $A'])).toBe('1')
      },
      ['-e', 'A=1'],
    )
  })

  test.each([
    [['sh', '-c', 'exit 42'], 42],
    [['nonsense'], 127],
    [['/etc/passwd'], 126],
    [['sh', '-c', 'kill -9 $$'], 137],
  ])('exits as the command does: %j', async (command, code) => {
    await withContainer(forever, async () => {
      expect((await world.tsrun(['exec', 'box', ...command])).code).toBe(code)
    })
  })

  test('passes stdin with -i, and keeps stdout and stderr apart', async () => {
    await withContainer(forever, async () => {
      expect((await world.tsrun(['exec', '-i', 'box', 'cat'], { input: 'hello' })).stdout).toBe('hello')
      expect(await world.tsrun(['exec', 'box', 'sh', '-c', 'echo o; echo e >&2'])).toMatchObject({
        stdout: 'o\n',
        stderr: 'e\n',
      })
    })
  })

  test('takes -e, -w, -u and -d', async () => {
    await withContainer(forever, async () => {
      expect(
        await world.ok(['exec', '-e', 'B=2', '-w', '/tmp', '-u', '1000', 'box', 'sh', '-c', 'echo $B $PWD $(id -u)']),
      ).toBe('2 /tmp 1000')
      await world.ok(['exec', '-d', 'box', 'touch', '/detached'])
      await eventually('it ran', async () => (await world.tsrun(['exec', 'box', 'ls', '/detached'])).code === 0)
    })
  })

  test('is bounded by the same limits and rights as the container', async () => {
    await withContainer(forever, async () => {
      const [first, second] = [
        await world.ok(['exec', 'box', 'grep', '-E', '^(Cap|Seccomp:|NoNew)', '/proc/1/status']),
        await world.ok(['exec', 'box', 'grep', '-E', '^(Cap|Seccomp:|NoNew)', '/proc/self/status']),
      ]
      expect(second).toBe(first)
      expect(await world.ok(['exec', 'box', 'cat', '/proc/self/cgroup'])).toBe(
        await world.ok(['exec', 'box', 'cat', '/proc/1/cgroup']),
      )
    })
  })

  test('of a container that does not run is an error of ours', async () => {
    await withContainer('true', async () => {
      await world.tsrun(['wait', 'box'])

      expectError(await world.tsrun(['exec', 'box', 'true']), 1, /"box".*not running/)
    })
    expectError(await world.tsrun(['exec', 'nobody', 'true']), 1, /"nobody"/)
  })

  test('leaves nothing when its client is killed', async () => {
    await withContainer(forever, async () => {
      const before = await world.settled()
      const running = world.start(['exec', 'box', 'sleep', '777'])
      await eventually('it sleeps', async () => (await world.ok(['exec', 'box', 'ps'])).includes('sleep 777'))

      running.kill('SIGKILL')
      await running.result
      await sleep(200)

      // As in docker, the command goes on; nothing else stays, and it ends with the container.
      await world.tsrun(['exec', 'box', 'pkill', '-f', 'sleep 777'])
      await world.tsrun(['exec', 'box', 'sh', '-c', 'kill $(pidof sleep)'])
      const changes = await world.changesSince(before, { ignore: [/^process .*sleep 0\.05/] })
      expect(changes).toEqual([])
    })
  })
})

describe('inspect', () => {
  test('shows state, address and ports, in the form of docker', async () => {
    await withContainer(
      forever,
      async id => {
        const [container] = await world.json(['inspect', 'box'])

        expect(container).toMatchObject({
          Id: id,
          Name: '/box',
          State: { Status: 'running', Running: true, ExitCode: 0 },
          Config: { Image: 'busybox', Labels: { a: 'b' } },
          NetworkSettings: { Ports: { '80/tcp': expect.arrayContaining([{ HostIp: '127.0.0.1', HostPort: '8080' }]) } },
        })
        expect(container.State.Pid).toBeGreaterThan(1)
        const [network] = Object.values(container.NetworkSettings.Networks)
        expect(network).toMatchObject({
          IPAddress: expect.stringMatching(/^\d+\.\d+\.\d+\.\d+$/),
          Gateway: expect.stringMatching(/^\d+\.\d+\.\d+\.\d+$/),
          MacAddress: expect.stringMatching(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/),
        })
      },
      ['-p', '127.0.0.1:8080:80', '--label', 'a=b'],
    )
  })

  test('--format takes a template', async () => {
    await withContainer(forever, async () => {
      expect(await world.ok(['inspect', '--format', '{{.State.Status}}', 'box'])).toBe('running')
    })
  })

  test('of an unknown container prints an empty list and fails', async () => {
    const { stdout, stderr, code } = await world.tsrun(['inspect', 'nobody'])

    expect(JSON.parse(stdout)).toEqual([])
    expect(stderr).toMatch(/tsrun: .*"nobody"/)
    expect(code).toBe(1)
  })

  test('an ambiguous short id is refused', async () => {
    const ids: string[] = []
    for (let n = 0; n < 17; n++) ids.push(await world.ok(['create', 'busybox', 'true']))
    const first = ids.find((id, index) => ids.some((other, place) => place !== index && other[0] === id[0]))

    const { stderr, code } = await world.tsrun(['inspect', first?.[0] ?? ''])

    expect(code).toBe(1)
    expect(stderr).toMatch(/"[0-9a-f]".*\d ids/)
    await world.ok(['rm', ...ids])
  })
})

describe('a container whose process died with nobody watching', () => {
  test('is shown as ended, with its exit code, and its network is released', async () => {
    const before = await world.settled()
    const id = await world.ok(['run', '-d', '-p', '8080:80', 'busybox', 'sh', '-c', 'sleep 0.3; exit 6'])

    await eventually('it has ended', async () => (await world.ok(['ps', '-q'])) === '')

    expect(await world.ok(['inspect', '--format', '{{.State.ExitCode}}', id])).toBe('6')
    const changes = await world.changesSince(before, { ignore: [/^file /] })
    expect(changes.filter(change => /veth|8080|process|mount/.test(change))).toEqual([])
    await world.ok(['rm', id])
  })

  test('is shown as dead when it was killed together with its monitor', async () => {
    const id = await world.ok(['run', '-d', 'busybox', 'sleep', '1000'])
    const [{ State }] = await world.json(['inspect', id])
    await world.host.sh(`monitor=$(awk '{ print $4 }' /proc/${State.Pid}/stat); kill -9 "$monitor" ${State.Pid}`)

    await eventually('it is seen', async () => (await world.ok(['ps', '-q'])) === '')

    await world.ok(['rm', id])
  })
})

test(
  'a client that saw one life end leaves the next one alone',
  inWorld(async world => {
    const client = world.start(['run', '--name', 'web', 'busybox', 'sleep', '1000'])
    await eventually('it runs', async () => (await world.ok(['ps', '--format', '{{.Names}}'])) === 'web')

    for (let round = 0; round < 3; round++) await world.ok(['restart', '-t', '0', 'web'])

    expect((await client.result).code).toBe(137)
    expect(await world.ok(['exec', 'web', 'echo', 'alive'])).toBe('alive')
  }),
)
