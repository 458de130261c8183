// Without a terminal, stdin, stdout and stderr of the command are pipes: byte for byte, whatever the amount.

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { World } from '../helpers/world.ts'

/** TSRUN_TEST_MEGABYTES=1024 sends the gigabyte that the design speaks of. */
const megabytes = Number(process.env.TSRUN_TEST_MEGABYTES ?? 64)

let world: World

beforeAll(async () => {
  world = await World.create()
  await world.ok(['run', '--rm', 'busybox', 'true'])
})
afterAll(() => world.dispose())

describe('run without -t', () => {
  test('keeps stdout and stderr apart', async () => {
    const result = await world.tsrun(['run', '--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2'])

    expect(result).toMatchObject({ stdout: 'out\n', stderr: 'err\n', code: 0 })
  })

  test('gives no stdin without -i', async () => {
    const result = await world.tsrun(['run', '--rm', 'busybox', 'cat'], { input: 'not for you' })

    expect(result).toMatchObject({ stdout: '', code: 0 })
  })

  test('passes stdin with -i, and its end', async () => {
    expect((await world.tsrun(['run', '--rm', '-i', 'busybox', 'cat'], { input: 'hello' })).stdout).toBe('hello')
    expect((await world.tsrun(['run', '--rm', '-i', 'busybox', 'wc', '-c'], { input: '' })).stdout.trim()).toBe('0')
  })

  test('changes no byte: no line feeds added, nothing decoded', async () => {
    const all = join(world.dir, 'all-bytes')
    writeFileSync(
      all,
      Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, value) => value)), Buffer.from('\r\n\n\r\x00\xff')]),
    )

    const shown = await world.host.sh(
      `"$@" < ${all} | cmp - ${all} && echo same`.replace(
        '"$@"',
        `${world.tsrunCommand(['run', '--rm', '-i', 'busybox', 'cat']).slice(2).join(' ')}`,
      ),
      {
        env: world.env,
      },
    )
    expect(shown).toBe('same\n')
  })

  test(
    `passes ${megabytes} MB through stdin and stdout`,
    async () => {
      const [source, target] = [join(world.dir, 'source'), join(world.dir, 'target')]
      const block = randomBytes(1 << 20)
      await pipeline(
        (function* () {
          for (let n = 0; n < megabytes; n++) yield block
        })(),
        createWriteStream(source),
      )
      const [program = '', ...args] = world.tsrunCommand(['run', '--rm', '-i', 'busybox', 'cat'])
      const child = spawn(program, args, { env: world.env, stdio: ['pipe', 'pipe', 'inherit'] })

      const [code] = await Promise.all([
        new Promise(resolve => child.on('close', resolve)),
        pipeline(createReadStream(source), child.stdin),
        pipeline(child.stdout, createWriteStream(target)),
      ])

      expect(code).toBe(0)
      expect(await digest(target)).toBe(await digest(source))
    },
    120_000 + megabytes * 1000,
  )

  test('lets a reader be slow without piling up what is written', async () => {
    const [program = '', ...args] = world.tsrunCommand([
      'run',
      '--rm',
      '--name',
      'slow',
      'busybox',
      'sh',
      '-c',
      'head -c 32m /dev/zero; echo done >&2',
    ])
    const child = spawn(program, args, { env: world.env, stdio: ['ignore', 'pipe', 'pipe'] })
    let errors = ''
    child.stderr.on('data', data => {
      errors += data
    })
    await new Promise(resolve => child.stdout.once('readable', resolve))
    await new Promise(resolve => setTimeout(resolve, 500))

    // 32 MB do not fit into the pipes on the way: the command is still writing.
    expect(errors).toBe('')
    let size = 0
    for await (const chunk of child.stdout) size += chunk.length
    expect(size).toBe(32 << 20)
    await eventually('the command has ended', () => errors.includes('done'))
  })

  test('ends when the reader goes away, like any command in a pipe', async () => {
    const command = world
      .tsrunCommand(['run', '--rm', '--name', 'endless', 'busybox', 'yes'])
      .slice(2)
      .map(word => `'${word}'`)
      .join(' ')

    expect(await world.host.sh(`${command} | head -n 2`, { env: world.env })).toBe('y\ny\n')
    // As with docker the container itself goes on, for `logs` and `attach`.
    await world.tsrun(['rm', '-f', 'endless'])
  })

  test('ends at once when the command does, though stdin stays open', async () => {
    const running = world.start(['run', '--rm', '-i', 'busybox', 'sh', '-c', 'exit 5'])

    expect((await running.result).code).toBe(5)
  })

  test('passes the last output of a command that ends right away', async () => {
    for (let round = 0; round < 20; round++) {
      expect((await world.tsrun(['run', '--rm', 'busybox', 'sh', '-c', 'seq 1000; exit 3'])).stdout).toMatch(
        /\n1000\n$/,
      )
    }
  })

  test('does not wait for a child of the command that keeps its output open', async () => {
    const result = await world.tsrun(['run', '--rm', 'busybox', 'sh', '-c', 'sleep 1000 & echo done'])

    expect(result).toMatchObject({ stdout: 'done\n', code: 0 })
  })

  test('passes SIGTERM and SIGINT on to the command', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const running = world.start([
        'run',
        '--rm',
        'busybox',
        'sh',
        '-c',
        `trap "echo caught; exit 9" TERM INT; echo ready; while :; do sleep 0.05; done`,
      ])
      await running.waitFor(/ready/)
      running.kill(signal)

      expect(await running.result).toMatchObject({ stdout: 'ready\ncaught\n', code: 9 })
    }
  })
})

async function digest(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
