// The same engine through its other faces: the command line under Node, and the library.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { succeed } from '../helpers/command.ts'
import { plainEnvironment } from '../helpers/namespace.ts'
import { addresses, dist, type Face, inWorld, World } from '../helpers/world.ts'

describe.each<Face>(['executable', 'node'])('the command line as %s', face => {
  test('does the main job', async () => {
    const world = await World.create({ face })
    try {
      await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])
      await world.serve('web', ['-net', 'br', '-p', '80:80'])

      const page = await world.outside.curl(`http://${addresses.host}/`, { from: addresses.client })
      expect(page.body).toBe(`web sees ${addresses.client}\n`)
      expect((await world.host.curl('http://127.0.0.1/')).body).toMatch(/^web sees/)
      expect(await world.ok(['network', 'list'])).toMatch(/br +bridge +local +192\.168\.0\.0\/24/)
    } finally {
      await world.dispose()
    }
  })

  test('passes exit codes, streams and a terminal', async () => {
    const world = await World.create({ face })
    try {
      const result = await world.tsrun(['run', '--rm', '-i', 'busybox', 'sh', '-c', 'cat; echo err >&2; exit 42'], {
        input: 'out',
      })
      expect(result).toMatchObject({ stdout: 'out', stderr: 'err\n', code: 42 })

      const terminal = await world.terminal(['run', '--rm', '-it', 'busybox', 'sh'], { rows: 30, columns: 100 })
      await terminal.waitFor(/# /)
      terminal.type('stty size; exit 7\r')
      await terminal.waitFor(/30 100/)
      const { code, before, after } = await terminal.finished()
      expect(code).toBe(7)
      expect(after).toBe(before)
    } finally {
      await world.dispose()
    }
  })
})

test(
  'both find what the other has made',
  inWorld(async world => {
    const node = (args: string[]) => succeed(world.tsrunCommand(args, 'node'), { env: world.env })
    const executable = (args: string[]) => succeed(world.tsrunCommand(args, 'executable'), { env: world.env })

    const id = (await node(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])).trim()

    expect((await executable(['ps', '-q', '--no-trunc'])).trim()).toBe(id)
    expect(await executable(['exec', 'box', 'echo', 'hello'])).toBe('hello\n')
    expect(await executable(['rm', '-f', 'box'])).toBe('box\n')
    expect(await node(['ps', '-aq'])).toBe('')
  }),
)

describe('the library', () => {
  const examples = fileURLToPath(new URL('../../examples/', import.meta.url))
  const programs = readdirSync(examples).filter(name => name.endsWith('.ts'))

  test('has an example', () => {
    expect(programs.length).toBeGreaterThan(0)
  })

  test.each(programs)('runs examples/%s, which cleans up behind itself', name =>
    inWorld(async world => {
      // Inside the package, so that it may import "tsrun" as a user's program would.
      const compiled = join(dist, 'examples')
      const tsc = fileURLToPath(new URL('../../node_modules/.bin/tsc', import.meta.url))
      const project = fileURLToPath(new URL('../../tsconfig.json', import.meta.url))
      await succeed([tsc, '-p', project, '--noEmit', 'false', '--noCheck', '--outDir', compiled], {
        env: plainEnvironment,
        timeoutMs: 60_000,
      })
      const before = await world.settled()

      const program = join(compiled, 'examples', name.replace(/\.ts$/, '.js'))
      const result = await world.host.tryExec(process.execPath, [program], { env: world.env, timeoutMs: 60_000 })

      expect(result.code, result.stderr).toBe(0)
      expect(result.stdout).not.toBe('')
      const changes = await world.changesSince(before, { ignore: [/^file appeared: \/(root|state)\//, /^sysctl/] })
      expect(changes).toEqual([])
    })(),
  )
})
