// pause, unpause, rename, update, top: what is done to a container that runs.

import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually, sleep } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(() => world.tsrun(['rm', '-f', 'box', 'crate']))
afterAll(() => world.dispose())

const counter = 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.01; done'

const start = (flags: string[] = [], script = counter) =>
  world.ok(['run', '-d', '--name', 'box', ...flags, 'busybox', 'sh', '-c', script])
const count = async (): Promise<number> => {
  const pid = await world.ok(['inspect', '-f', '{{.State.Pid}}', 'box'])
  const file = `/proc/${pid}/root/count`
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
}
const status = () => world.ok(['inspect', '-f', '{{.State.Status}}', 'box'])

describe('pause', () => {
  test('stops every process, and unpause lets them go on', async () => {
    await start()
    await eventually('it counts', async () => (await count()) > 1)

    expect(await world.ok(['pause', 'box'])).toBe('box')

    const held = await count()
    await sleep(200)
    expect(await count()).toBe(held)
    expect(await status()).toBe('paused')
    expect(await world.ok(['ps', '--format', '{{.Status}}'])).toMatch(/^Up .* \(Paused\)$/)
    expect(await world.ok(['unpause', 'box'])).toBe('box')
    await eventually('it counts on', async () => (await count()) > held)
    expect(await status()).toBe('running')
  })

  test('is an error twice, and unpause of what is not paused', async () => {
    await start()
    expectError(await world.tsrun(['unpause', 'box']), 1, /cannot unpause "box": it is not paused/)
    await world.ok(['pause', 'box'])

    expectError(await world.tsrun(['pause', 'box']), 1, /cannot pause "box": it is paused/)
    expectError(await world.tsrun(['exec', 'box', 'true']), 1, /it is paused/)
  })

  test.each(['net', 'pid', 'ipc', 'uts'])('a paused container can be joined, by its %s namespace', async kind => {
    await start()
    await world.ok(['pause', 'box'])
    const pid = await world.ok(['inspect', '-f', '{{.State.Pid}}', 'box'])

    const flag = kind === 'net' ? '--network' : `--${kind}`
    const joined = await world.ok([
      'run',
      '--rm',
      flag,
      'container:box',
      'busybox',
      'readlink',
      `/proc/self/ns/${kind}`,
    ])

    expect(joined).toBe(readlinkSync(`/proc/${pid}/ns/${kind}`))
    expect(await status()).toBe('paused')
  })

  test('a stopped container cannot be joined', async () => {
    await start()
    await world.ok(['stop', '-t', '0', 'box'])

    expectError(
      await world.tsrun(['run', '--name', 'crate', '--network', 'container:box', 'busybox', 'true']),
      125,
      /cannot start "crate" in the net namespace of "box": it is not running/,
    )
  })

  test.each([[['stop']], [['kill']], [['kill', '-s', 'TERM']], [['rm', '-f']]])(
    'tsrun %j ends a paused container',
    async verb => {
      await start([], 'trap "exit 0" TERM; while :; do sleep 0.05; done')
      await sleep(100)
      await world.ok(['pause', 'box'])

      await world.ok([...verb, 'box'])

      await eventually('it has ended', async () => (await world.ok(['ps', '-q'])) === '')
    },
  )
})

describe('rename', () => {
  test('gives another name and frees the old one', async () => {
    const id = await start()

    expect(await world.ok(['rename', 'box', 'crate'])).toBe('')

    expect(await world.ok(['inspect', '-f', '{{.Id}} {{.Name}}', 'crate'])).toBe(`${id} /crate`)
    expectError(await world.tsrun(['rm', 'box']), 1, /no such container: "box"/)
    await start()
  })

  test('to a name that is taken is an error', async () => {
    await start()
    await world.ok(['create', '--name', 'crate', 'busybox', 'true'])

    expectError(await world.tsrun(['rename', 'box', 'crate']), 1, /"crate"/)
  })
})

describe('update', () => {
  test('changes limits of a running container, as the kernel sees them', async () => {
    await start(['-m', '64m', '--pids-limit', '50'])

    expect(await world.ok(['update', '-m', '48m', '--pids-limit', '20', 'box'])).toBe('box')

    const pid = await world.ok(['inspect', '-f', '{{.State.Pid}}', 'box'])
    const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    const read = (controller: string, v1: string, v2: string) => {
      const path = new RegExp(`^\\d+:(?:[\\w,]*,)?${controller}(?:,[\\w,]*)?:(.*)$`, 'm').exec(groups)?.[1]
      const file =
        path === undefined
          ? `/sys/fs/cgroup${/^0::(.*)$/m.exec(groups)?.[1]}/${v2}`
          : `/sys/fs/cgroup/${controller}${path}/${v1}`
      return readFileSync(file, 'utf8').trim()
    }
    expect(read('memory', 'memory.limit_in_bytes', 'memory.max')).toBe(`${48 * 1024 * 1024}`)
    expect(read('pids', 'pids.max', 'pids.max')).toBe('20')
    expect(await world.ok(['inspect', '-f', '{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}', 'box'])).toBe(
      `${48 * 1024 * 1024} 20`,
    )
  })

  test('changes the restart policy', async () => {
    await start()

    await world.ok(['update', '--restart', 'on-failure:3', 'box'])

    expect(await world.ok(['inspect', '-f', '{{json .HostConfig.RestartPolicy}}', 'box'])).toBe(
      '{"Name":"on-failure","MaximumRetryCount":3}',
    )
  })

  test('without a flag is an error', async () => {
    expectError(await world.tsrun(['update', 'box']), 1, /no flag says what to change/)
  })
})

describe('top', () => {
  test('shows the processes of the container, of an exec too, and nobody else', async () => {
    await start([], 'exec sleep 1234')
    const exec = world.start(['exec', 'box', 'sleep', '4321'])

    const text = await eventually('both are listed', async () => {
      const shown = await world.ok(['top', 'box'])
      return shown.includes('sleep 4321') && shown
    })

    const [head, ...lines] = text.split('\n')
    expect(head).toMatch(/^UID +PID +PPID +C +STIME +TTY +TIME +CMD$/)
    expect(lines).toHaveLength(2)
    expect(lines.join('\n')).toMatch(/^root +\d+ +\d+ +\d+ +\S+ +\? +00:00:00 +sleep 1234$/m)
    await world.ok(['rm', '-f', 'box'])
    await exec.result
  })

  test('of what does not run is an error', async () => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    expectError(await world.tsrun(['top', 'box']), 1, /it is not running/)
  })
})
