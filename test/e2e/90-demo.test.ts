// The README's first command, on a simulated host: it prepares, shows the main job and leaves nothing.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { inWorld, type World } from '../helpers/world.ts'

const script = fileURLToPath(new URL('../../scripts/demo', import.meta.url))

function demo(world: World) {
  const PATH = `${process.execPath.slice(0, process.execPath.lastIndexOf('/'))}:${world.env.PATH}`
  const env = { ...world.env, PATH, PREFIX: join(world.dir, 'prefix') }
  return world.host.tryExec('bash', [script], { env, timeoutMs: 100_000 })
}

test(
  'scripts/demo shows the page from the host and from outside, and cleans up',
  inWorld(async world => {
    const started = Date.now()
    const { stdout, stderr, code } = await demo(world)

    expect(code, stdout + stderr).toBe(0)
    expect(Date.now() - started).toBeLessThan(20_000)
    expect(stdout).toContain('$ tsrun network create --subnet 192.168.0.0/24 br')
    expect(stdout).toContain('-net br -p 80:80 busybox')
    // From the host's own address, from 127.0.0.1 and from outside.
    expect(stdout.match(/^ +Hello from 192\.168\.0\.2, /gm)).toHaveLength(3)
    expect(stdout).toContain('$ tsrun network list')
    expect(stdout).toMatch(/203\.0\.113\.2.*response:200/)
    expect(existsSync(join(world.dir, 'prefix/bin/tsrun'))).toBe(true)
  }),
  120_000,
)

test(
  'scripts/demo makes do where port, subnet and name are taken, and says so',
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])
    world.host.start('busybox', ['httpd', '-f', '-p', '80'])
    await eventually('port 80 is taken', async () => (await world.host.curl('http://127.0.0.1/')).status !== 0)

    const { stdout, stderr, code } = await demo(world)

    expect(code, stdout + stderr).toBe(0)
    expect(stdout).toContain('192.168.0.0/24 is in use')
    expect(stdout).toContain('A network named br exists already')
    expect(stdout).toContain('Port 80 is in use')
    expect(stdout.match(/^ +Hello from 192\.168\.10\.2, /gm)).toHaveLength(3)
    expect(await world.ok(['network', 'ls', '--format', '{{.Name}}'])).toContain('br')
  }),
  120_000,
)
