// docker's command lines as they stand in scripts: the flags, filters and exit codes that people rely on.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.removeContainers()
  for (const name of ['cid', 'env', 'labels', 'vars']) rmSync(join(world.dir, 'work', name), { force: true })
})
afterAll(async () => {
  await world.tsrun(['volume', 'prune', '-af'])
  await world.dispose()
})

const shell = (script: string) => ['busybox', 'sh', '-c', script]
/** Ends at once when it is asked to, and says by what. */
const polite = shell('trap "echo usr1; exit 3" USR1; trap "exit 4" TERM; while :; do sleep 0.1; done')
const names = (args: string[]) => world.ok([...args, '--format', '{{.Names}}'])

describe('stop and restart', () => {
  test('--signal and --timeout', async () => {
    await world.ok(['run', '-d', '--name', 'box', ...polite])
    await eventually('its traps are set', async () => (await world.ok(['top', 'box'])).includes('sleep'))

    expect(await world.ok(['stop', '-s', 'USR1', '--timeout', '30', 'box'])).toBe('box')

    expect(await world.ok(['logs', 'box'])).toBe('usr1')
    expect(await world.ok(['inspect', '-f', '{{.State.ExitCode}}', 'box'])).toBe('3')
    expect(await world.ok(['restart', '-t', '0', '-s', 'KILL', 'box'])).toBe('box')
    expect(await world.ok(['inspect', '-f', '{{.State.Status}}', 'box'])).toBe('running')
    expectError(await world.tsrun(['stop', '-s', 'NOSUCH', 'box']), 1, /no signal "NOSUCH"/)
    expect(await world.ok(['inspect', '-f', '{{.State.Status}}', 'box'])).toBe('running')
  })

  test('restart is told as an event of its own', async () => {
    const id = await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])
    await world.ok(['restart', '-t', '0', 'box'])

    const told = await world.ok([
      ...['events', '--since', '1m', '--until', '0s', '-f', 'type=container', '-f', `container=${id}`],
      ...['--format', '{{.Action}}'],
    ])
    expect(told.split('\n')).toEqual(['create', 'start', 'kill', 'die', 'stop', 'start', 'restart'])
  })
})

describe('exec', () => {
  test('--env-file, and -e with a name alone', async () => {
    writeFileSync(join(world.dir, 'work', 'vars'), '# comment\nFROM_FILE=a b\nBOTH=file\n')
    await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])
    const flags = ['--env-file', join(world.dir, 'work', 'vars'), '-e', 'BOTH=flag', '-e', 'HOME', '-e', 'NOT_SET_HERE']

    const said = await world.ok(['exec', ...flags, 'box', 'env'])

    expect(said).toContain('FROM_FILE=a b\n')
    expect(said).toContain('BOTH=flag')
    expect(said).toContain(`HOME=${world.env.HOME}`)
    expect(said).not.toContain('NOT_SET_HERE')
  })

  test('wrong detach keys are refused before anything runs', async () => {
    await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])

    const result = await world.tsrun(['exec', '-d', '--detach-keys', 'ctrl-', 'box', 'touch', '/ran'])

    expectError(result, 1, /detach/)
    expect((await world.tsrun(['exec', 'box', 'ls', '/ran'])).code).toBe(1)
  })

  test('the end of one that nobody watches is told, with its exit code', async () => {
    const id = await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])
    await world.ok(['exec', '-d', ...shell('sleep 0.2; exit 9').with(0, 'box')])
    const ends = () =>
      world.ok([
        ...['events', '--since', '1m', '--until', '0s', '-f', `container=${id}`, '-f', 'event=exec_die'],
        ...['--format', '{{.Actor.Attributes.exitCode}}'],
      ])

    await eventually('the end is told', async () => (await ends()) === '9')

    expect((await world.tsrun(['exec', ...shell('exit 7').with(0, 'box')])).code).toBe(7)
    expect(await ends()).toBe('9\n7')
  })
})

describe('run -a', () => {
  test.each([
    [['-a', 'stdout'], 'out\n', ''],
    [['-a', 'STDERR'], '', 'err\n'],
    [['-a', 'stdout', '-a', 'stderr'], 'out\n', 'err\n'],
  ])('%j shows only that', async (flags, stdout, stderr) => {
    const result = await world.tsrun(['run', '--rm', ...flags, ...shell('echo out; echo err >&2; exit 5')])

    expect(result).toMatchObject({ stdout, stderr, code: 5 })
  })

  test('stdin alone feeds it and prints its id', async () => {
    const { stdout, code } = await world.tsrun(['run', '-i', '-a', 'stdin', 'busybox', 'cat'], { input: 'fed' })

    expect(code).toBe(0)
    expect(stdout).toMatch(/^[0-9a-f]{64}\n$/)
    expect(await world.ok(['logs', stdout.trim()])).toBe('fed')
  })

  test('takes no other stream, and nothing together with -d', async () => {
    expectError(await world.tsrun(['run', '-a', 'stdlog', 'busybox', 'true']), 125, /"stdlog" for --attach/)
    expectError(await world.tsrun(['run', '-d', '-a', 'stdout', 'busybox', 'true']), 125, /-a together with -d/)
  })
})

describe('ps --filter', () => {
  test('knows ancestors, ports, networks, volumes and age', async () => {
    await world.ok(['run', '-d', '--name', 'old', '-p', '8090:80', '--expose', '53/udp', '-v', 'kept:/data', ...polite])
    await world.ok(['commit', 'old', 'child:1'])
    await world.ok(['run', '-d', '--name', 'new', '-l', 'a=1', '-l', 'b=2', '--network', 'none', 'child:1'])

    const shown = async (...filters: string[]) =>
      (await names(['ps', ...filters.flatMap(f => ['-f', f])])).split('\n').sort().join(' ')
    expect(await shown('ancestor=busybox')).toBe('new old')
    expect(await shown('ancestor=child:1')).toBe('new')
    expect(await shown('before=new')).toBe('old')
    expect(await shown('since=old')).toBe('new')
    expect(await shown('publish=80')).toBe('old')
    expect(await shown('publish=70-90/tcp')).toBe('old')
    expect(await shown('publish=80/udp')).toBe('')
    expect(await shown('expose=53/udp')).toBe('new old')
    expect(await shown('network=bridge')).toBe('old')
    expect(await shown('network=none')).toBe('new')
    expect(await shown('volume=kept')).toBe('old')
    expect(await shown('label=a', 'label=b=2')).toBe('new')
    expect(await shown('label=a', 'label=b=3')).toBe('')
    await world.ok(['rm', '-fv', 'old', 'new'])
    await world.ok(['rmi', 'child:1'])
    await world.ok(['volume', 'rm', 'kept'])
  })

  test.each([
    ['status=asleep', /"status=asleep"/],
    ['health=fine', /"health=fine"/],
    ['exited=bad', /"exited=bad"/],
    ['publish=web', /"publish=web"/],
    ['before=nobody', /no such container/],
    ['colour=red', /"colour=red"/],
  ])('%s is refused', async (filter, message) => {
    expectError(await world.tsrun(['ps', '-f', filter]), 1, message)
  })

  test('--size and inspect --size say what was written, and that with the image', async () => {
    await world.ok(['run', '--name', 'box', ...shell('head -c 5000 /dev/zero > /file')])

    expect(await world.ok(['ps', '-as', '--format', '{{.Size}}'])).toMatch(/^5kB \(virtual [\d.]+MB\)$/)
    const [{ SizeRw, SizeRootFs }] = await world.json(['inspect', '-s', 'box'])
    expect(SizeRw).toBe(5000)
    expect(SizeRootFs).toBeGreaterThan(500_000)
  })
})

describe('lists and prunes', () => {
  test('volumes are filtered, forced and pruned by label', async () => {
    await world.ok(['volume', 'create', '--label', 'keep', 'one'])
    await world.ok(['volume', 'create', '-d', 'local', 'two'])

    expect(await world.ok(['volume', 'ls', '-q', '-f', 'dangling=true', '-f', 'name=o'])).toBe('one\ntwo')
    expect(await world.ok(['volume', 'ls', '-q', '-f', 'label=keep'])).toBe('one')
    expect(await world.ok(['volume', 'prune', '-a', '-f', '--filter', 'label!=keep'])).toBe(
      'Deleted Volumes:\ntwo\n\nTotal reclaimed space: 0B',
    )
    expect(await world.ok(['volume', 'rm', '-f', 'nobody'])).toBe('nobody')
    expectError(await world.tsrun(['volume', 'rm', 'nobody']), 1, /no such volume/)
    expectError(await world.tsrun(['volume', 'create', '-d', 'nfs', 'three']), 1, /no volume driver "nfs"/)
    await world.ok(['volume', 'rm', 'one'])
  })

  test('networks are filtered, and pruned by label and age', async () => {
    await world.ok(['network', 'create', '--label', 'keep=yes', 'kept'])
    await world.ok(['network', 'create', 'spare'])

    expect(await world.ok(['network', 'ls', '-f', 'type=custom', '-f', 'label=keep', '--format', '{{.Name}}'])).toBe(
      'kept',
    )
    expect(await world.ok(['network', 'ls', '-f', 'dangling=true', '--format', '{{.Name}}'])).toContain('spare')
    expect(await world.ok(['network', 'prune', '-f', '--filter', 'until=1h'])).toBe('')
    expect(await world.ok(['network', 'prune', '-f', '--filter', 'label!=keep'])).toBe('Deleted Networks:\nspare')
    await world.ok(['network', 'rm', 'kept'])
  })

  test('system prune takes what passes the filter', async () => {
    await world.ok(['create', '--name', 'kept', '-l', 'keep', 'busybox', 'true'])
    const id = await world.ok(['create', 'busybox', 'true'])

    const said = await world.ok(['system', 'prune', '-f', '--filter', 'label!=keep'])

    expect(said).toContain(`Deleted Containers:\n${id}\n\n`)
    expect(said).toMatch(/Total reclaimed space: \S+B$/)
    expect(await names(['ps', '-a'])).toBe('kept')
    expectError(await world.tsrun(['system', 'prune', '--volumes', '--filter', 'until=1h']), 1, /until/)
  })

  test('system events are events', async () => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    const told = [
      'system',
      'events',
      '--since',
      '1m',
      '--until',
      '0s',
      '-f',
      'event=create',
      '--format',
      '{{.Actor.ID}}',
    ]
    expect(await world.ok(told)).toContain(await world.ok(['inspect', '-f', '{{.Id}}', 'box']))
  })
})

test('what is refused says why and what to do instead', async () => {
  for (const flag of ['--gpus=all', '--link=db', '--isolation=hyperv', '--runtime=runc', '--storage-opt=size=1G']) {
    const result = await world.tsrun(['run', flag, 'busybox', 'true'])
    expectError(result, 125, new RegExp(`^tsrun: cannot use ${flag.split('=')[0]}: `))
    expect(result.stderr).toMatch(/\n {2}hint: \S/)
  }
  expectError(await world.tsrun(['rm', '-l', 'box']), 1, /cannot use --link/)
  expectError(await world.tsrun(['network', 'nonsense', '--help']), 1, /no command "network nonsense"/)
  expectError(await world.tsrun(['compose', 'up']), 1, /no command "compose"\n {2}hint: there is no compose/)
  expectError(await world.tsrun(['netwrok', 'ls']), 1, /did you mean `tsrun network`/)
  expectError(await world.tsrun(['help', 'rnu']), 1, /did you mean `tsrun run`/)
})

test('inspect keeps entrypoint and command apart, as the image and the user gave them', async () => {
  await world.ok(['create', '--name', 'base', '--entrypoint', 'echo', 'busybox', 'from', 'image'])
  await world.ok(['commit', '-c', 'EXPOSE 81', '-c', 'HEALTHCHECK --interval=9s CMD exit 0', 'base', 'says:1'])
  await world.ok(['create', '--name', 'box', '-a', 'stdout', 'says:1', 'own'])

  const template = (text: string, name = 'box') => world.ok(['inspect', '-f', text, name])
  expect(await template('{{.Path}} {{.Args}} {{.Config.Entrypoint}} {{.Config.Cmd}}')).toBe('echo [own] [echo] [own]')
  expect(await template('{{json .Config.ExposedPorts}} {{.Config.AttachStdin}} {{.Config.AttachStdout}}')).toBe(
    '{"81/tcp":{}} false true',
  )
  expect(await template('{{json .Config.Healthcheck}}')).toBe('{"Test":["CMD-SHELL","exit 0"],"Interval":9000000000}')
  expect(await template('{{json .Config.Entrypoint}}', 'base')).toBe('["echo"]')
  await world.ok(['rm', 'base', 'box'])
  await world.ok(['rmi', 'says:1'])
})

test("a healthcheck's line is run by the image's own shell", async () => {
  await world.ok(['create', '--name', 'base', 'busybox', 'sleep', '1000'])
  await world.ok(['commit', '-c', 'SHELL ["/bin/busybox", "echo", "shell:"]', 'base', 'shelled:1'])
  await world.ok(['run', '-d', '--name', 'box', '--health-cmd', 'hello', '--health-interval', '100ms', 'shelled:1'])

  await eventually('a probe is done', async () => {
    const log = await world.ok(['inspect', '-f', '{{range .State.Health.Log}}{{.Output}}{{end}}', 'box'])
    return log.startsWith('shell: hello\n')
  })

  await world.ok(['rm', '-f', 'base', 'box'])
  await world.ok(['rmi', 'shelled:1'])
})

test('logs --details shows what the log options name', async () => {
  const flags = [
    '-l',
    'team=red',
    '-l',
    'other=x',
    '-e',
    'STAGE=test',
    '--log-opt',
    'labels=team',
    '--log-opt',
    'env=STAGE',
  ]
  await world.ok(['run', '--name', 'box', ...flags, 'busybox', 'echo', 'line'])

  expect(await world.ok(['logs', '--details', 'box'])).toBe('STAGE=test,team=red line')
})

test('--cidfile, --label-file and --env-file are read and written', async () => {
  const file = (name: string) => join(world.dir, 'work', name)
  writeFileSync(file('labels'), 'from=file\n')
  writeFileSync(file('env'), 'COLOUR=red\n')
  const files = ['--cidfile', file('cid'), '--label-file', file('labels'), '--env-file', file('env')]

  expect(await world.ok(['run', ...files, ...shell('echo $COLOUR')])).toBe('red')

  const id = readFileSync(file('cid'), 'utf8')
  expect(await world.ok(['inspect', '-f', '{{.Config.Labels.from}}', id])).toBe('file')
  const again = await world.tsrun(['run', ...files, 'busybox', 'true'])
  expectError(again, 125, /cid/)
  expect((await world.ok(['ps', '-aq'])).split('\n')).toHaveLength(1)
})
