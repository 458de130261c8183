// Rules of docker's that nobody writes down and everybody relies on: what a template may ask for, when something is asked
// before it is removed, and what the exit codes are.

import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(async () => {
  const ids = (await world.ok(['ps', '-aq'])).split('\n').filter(Boolean)
  if (ids.length > 0) await world.ok(['rm', '-fv', ...ids])
})
afterAll(() => world.dispose())

const shell = (script: string) => ['busybox', 'sh', '-c', script]
const sleeping = ['busybox', 'sleep', '1000']

describe('templates and tables', () => {
  test('ps has commands quoted as docker does, labels by key, and columns of ten at least', async () => {
    await world.ok(['create', '--name', 'box', '-l', 'b.key=2', '-l', 'a=1', ...shell('echo "a b"; exit 3')])
    const shown = (format: string) => world.ok(['ps', '-a', '--no-trunc', '--format', format])

    expect(await shown('{{.Command}}')).toBe(String.raw`"sh -c 'echo \"a b\"; exit 3'"`)
    expect(await shown('table {{.Names}}\t{{.Label "b.key"}}\t{{.Label "none"}}')).toBe(
      'NAMES     key       none\nbox       2',
    )
    expect(await shown('{{.Labels}}')).toMatch(/^a=1,b\.key=2,org\./)
    expectError(
      await world.tsrun(['ps', '-a', '--format', '{{.Name}}']),
      1,
      /there is no field \.Name\n {2}hint: did you mean \.Names\?/,
    )
    expect(await world.ok(['ps', '-a'])).toMatch(/^CONTAINER ID {3}IMAGE {5}COMMAND {18}/)
  })

  test('inspect fails where docker does: a field that no struct has, and a field of what is not there', async () => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])
    const inspect = (format: string) => world.tsrun(['inspect', '-f', format, 'box'])

    expectError(await inspect('{{.Nope}}'), 1, /no field \.Nope/)
    expectError(await inspect('{{.State.Health.Status}}'), 1, /no field \.Status: it is nil/)
    expect((await inspect('{{if .State.Health}}x{{end}}{{.Config.Labels.none}}')).stdout).toBe('<no value>\n')
    expect((await inspect('{{.Config.StopTimeout}} {{.HostConfig.LogConfig.Config.none}}')).code).toBe(0)
  })
})

describe('prunes', () => {
  test.each([['n\n'], ['']])('ask, and %j is a no', async answer => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    for (const what of [['container'], ['system'], ['image'], ['network'], ['volume'], ['builder']]) {
      const { stdout, code } = await world.tsrun([...what, 'prune'], { input: answer })
      expect(stdout).toMatch(/^WARNING! This will remove.*[\s\S]*Are you sure you want to continue\? \[y\/N\] $/)
      expect(code).toBe(0)
    }
    expect(await world.ok(['ps', '-a', '--format', '{{.Names}}'])).toBe('box')
  })

  test('ask with --explain, which removes, and not with --dry-run', async () => {
    await world.ok(['network', 'create', 'unused'])

    const explained = await world.tsrun(['network', 'prune', '--explain'], { input: 'n\n' })
    expect(explained.stdout).toContain('Are you sure')
    expect((await world.tsrun(['network', 'prune', '--dry-run'], { input: '' })).stdout).not.toContain('Are you sure')

    expect(await world.ok(['network', 'ls', '-q', '-f', 'name=unused'])).not.toBe('')
    await world.ok(['network', 'rm', 'unused'])
  })

  test('go on at y, and with -f without a question', async () => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    expect((await world.tsrun(['container', 'prune'], { input: 'y\n' })).stdout).toMatch(
      /\[y\/N\] Deleted Containers:\n/,
    )
    expect(await world.ok(['ps', '-aq'])).toBe('')
    expect(await world.ok(['container', 'prune', '-f'])).toBe('Total reclaimed space: 0B')
  })
})

describe('exit codes and words', () => {
  test('exec: whatever keeps the process from starting is 126, a missing program 127', async () => {
    await world.ok(['run', '-d', '--name', 'box', ...sleeping])

    expectError(await world.tsrun(['exec', '-w', '/nosuch', 'box', 'true']), 126, /chdir to \/nosuch/)
    expectError(await world.tsrun(['exec', '-u', 'nosuch', 'box', 'true']), 126, /unable to find user/)
    expectError(await world.tsrun(['exec', 'box', 'nosuch']), 127, /not found/)
    expectError(await world.tsrun(['exec', 'nobody', 'true']), 1, /no such container/)
  })

  test('rm NAME NAME removes it once and says that the second is not there', async () => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    const { stdout, stderr, code } = await world.tsrun(['rm', 'box', 'box'])

    expect([stdout, code]).toEqual(['box\n', 1])
    expect(stderr).toMatch(/no such container: "box"/)
  })

  test('a name with a space in --env-file is refused', async () => {
    const file = join(world.dir, 'work', 'env-with-space')
    writeFileSync(file, 'GOOD=a b\nBAD NAME=1\n')

    expectError(
      await world.tsrun(['run', '--rm', '--env-file', file, 'busybox', 'env']),
      125,
      /the name has a space in it/,
    )
    rmSync(file)
  })

  test("docker's global flags stand before the verb", async () => {
    expect(await world.ok(['-D', '--log-level', 'warn', '-c', 'default', '--config=/tmp', 'ps', '-q'])).toBe('')
    expectError(await world.tsrun(['-H', 'tcp://far', 'ps']), 1, /cannot use --host tcp:\/\/far: there is no daemon/)
    expectError(await world.tsrun(['-l', 'loud', 'ps']), 1, /invalid value "loud" for --log-level/)
    expectError(await world.tsrun(['--context', 'far', 'ps']), 1, /cannot use --context far/)
    expectError(await world.tsrun(['l']), 1, /there is no command "l"/)
  })

  test.each([['volume'], ['network'], ['system'], ['builder']])('%s alone shows its commands', async group => {
    const { stdout, stderr, code } = await world.tsrun([group])

    expect(stdout).toMatch(new RegExp(`^Usage: tsrun ${group}`))
    expect([stderr, code]).toEqual(['', 0])
  })
})
