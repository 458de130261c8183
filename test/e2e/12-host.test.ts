// The executable on strange hosts: without Node, in a hostile folder, without libraries. And `doctor`.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { defaultFace, inWorld } from '../helpers/world.ts'

test.runIf(defaultFace === 'executable')(
  'runs from any directory without Node, and with an empty environment',
  inWorld(async world => {
    const empty = join(world.dir, 'empty')
    mkdirSync(empty)

    const outcome = await world.tsrun(['run', '--rm', 'busybox', 'echo', 'hello'], {
      cwd: '/',
      env: { PATH: '/usr/bin', TSRUN_ROOT: world.root, TSRUN_STATE: world.state },
    })

    expect(outcome).toMatchObject({ stdout: 'hello\n', stderr: '', code: 0 })
    const bare = await world.host.tryExec(
      '/usr/bin/env',
      [
        '-i',
        ...world.tsrunCommand([]).slice(2),
        '--root',
        world.root,
        '--state',
        world.state,
        'run',
        '--rm',
        'busybox',
        'echo',
        'hello',
      ],
      { cwd: empty },
    )
    expect(bare).toMatchObject({ stdout: 'hello\n', stderr: '', code: 0 })
  }),
)

test(
  'a folder that it is run in cannot make it run other code',
  inWorld(async world => {
    const hostile = join(world.dir, 'hostile')
    const proof = join(world.dir, 'proof')
    mkdirSync(join(hostile, 'node_modules', 'koffi'), { recursive: true })
    const evil = `require('node:fs').writeFileSync(${JSON.stringify(proof)}, 'ran')\n`
    writeFileSync(join(hostile, 'evil.js'), evil)
    writeFileSync(
      join(hostile, 'bunfig.toml'),
      'preload = ["./evil.js"]\n[run]\npreload = ["./evil.js"]\n[test]\npreload = ["./evil.js"]\n',
    )
    writeFileSync(
      join(hostile, '.env'),
      `TSRUN_ROOT=${world.dir}/elsewhere\nTSRUN_STATE=${world.dir}/elsewhere\nFROM_DOTENV=1\n`,
    )
    writeFileSync(join(hostile, 'tsconfig.json'), '{ "compilerOptions": { "paths": { "koffi": ["./evil.js"] } } }\n')
    writeFileSync(
      join(hostile, 'package.json'),
      '{ "name": "x", "main": "evil.js", "imports": { "#x": "./evil.js" } }\n',
    )
    writeFileSync(join(hostile, 'node_modules', 'koffi', 'index.js'), evil)
    writeFileSync(join(hostile, 'koffi.node'), 'no addon')
    writeFileSync(join(hostile, 'tsrun-init'), `#!/bin/sh\necho ran > ${proof}\n`, { mode: 0o755 })
    const { TSRUN_ROOT, TSRUN_STATE, ...env } = world.env

    const result = await world.tsrun(
      ['--root', `${TSRUN_ROOT}`, '--state', `${TSRUN_STATE}`, 'run', '--rm', '-e', 'FROM_DOTENV', 'busybox', 'env'],
      { cwd: hostile, env },
    )

    expect(result.code).toBe(0)
    expect(result.stdout).not.toContain('FROM_DOTENV')
    expect(existsSync(proof)).toBe(false)
    expect(existsSync(join(world.dir, 'elsewhere'))).toBe(false)
  }),
)

// A limit of both runtimes: they want to know their folder before our first line runs.
test(
  'where the folder that it is run in is gone, the message says so',
  inWorld(async world => {
    const command = world.tsrunCommand(['run', '--rm', 'busybox', 'true']).slice(2).join(' ')

    const result = await world.host.tryExec(
      'sh',
      ['-c', `mkdir ${world.dir}/gone; cd ${world.dir}/gone; rmdir ${world.dir}/gone; ${command}`],
      { env: world.env },
    )

    if (result.code !== 0) expect(result.stderr).toMatch(/director|cwd/)
  }),
)

test(
  'it leaves /tmp alone',
  inWorld(async world => {
    await world.ok(['run', '--rm', 'busybox', 'true'])
    await world.ok(['network', 'create', 'br'])

    const files = (await world.snapshot()).get('file') ?? []
    expect(files.filter(file => /^\/(tmp|home|work)\//.test(file))).toEqual([])
  }),
)

test(
  'where no cgroup hierarchy can be seen, nothing starts and what was created can be removed',
  inWorld(async world => {
    // What `ip netns exec` does: a /sys of its own, without /sys/fs/cgroup.
    const bare = (...args: string[]) =>
      world.host.tryExec(
        'unshare',
        [
          '-m',
          'sh',
          '-c',
          'umount -l /sys && mount -t sysfs none /sys && exec "$@"',
          'sh',
          ...world.tsrunCommand(args).slice(2),
        ],
        { env: world.env },
      )
    const refusal = /^tsrun: no cgroup hierarchy is mounted\n {2}hint: [^\n]*`ip netns exec` hides it[^\n]*\n$/

    const run = await bare('run', '--rm', 'busybox', 'true')
    expect(run).toMatchObject({ code: 125, stdout: '' })
    expect(run.stderr).toMatch(refusal)
    expect(await world.ok(['ps', '-aq'])).toBe('')

    expect(await bare('create', '--name', 'box', 'busybox')).toMatchObject({ code: 0 })
    expect((await bare('start', 'box')).stderr).toMatch(refusal)
    expect(await bare('rm', 'box')).toMatchObject({ code: 0, stdout: 'box\n', stderr: '' })
  }),
)

describe('doctor', () => {
  test(
    'finds nothing missing here',
    inWorld(async world => {
      const result = await world.tsrun(['doctor'])

      expect(result.code, result.stdout + result.stderr).toBe(0)
      expect(result.stdout).toMatch(/nftables/i)
      expect(result.stdout).toMatch(/overlay/i)
      expect(result.stdout).toMatch(/cgroup/i)
      expect(result.stdout).toMatch(/seccomp/i)
    }),
  )

  test(
    'says what is missing and how to get it, and fails',
    inWorld(async world => {
      // A mount namespace of its own in which the libraries are not to be found.
      const script = `
        for library in /usr/lib/*/libnftables.so.1* /usr/lib/*/libseccomp.so.2*; do
          if [ -f "$library" ] && [ ! -L "$library" ]; then mount --bind /dev/null "$library"; fi
        done
        exec "$@"`
      const command = world.tsrunCommand(['doctor']).slice(2)
      const result = await world.host.tryExec('unshare', ['-m', 'sh', '-c', script, 'sh', ...command], {
        env: world.env,
      })

      expect(result.code).toBe(1)
      expect(result.stdout + result.stderr).toMatch(/libnftables/)
      expect(result.stdout + result.stderr).toMatch(/apt/)
    }),
  )

  test(
    'and the command that needs the nft library says so',
    inWorld(async world => {
      const script = `
        for library in /usr/lib/*/libnftables.so.1*; do
          if [ -f "$library" ] && [ ! -L "$library" ]; then mount --bind /dev/null "$library"; fi
        done
        exec "$@"`
      const command = world.tsrunCommand(['run', '-p', '8080:80', 'busybox', 'true']).slice(2)
      const result = await world.host.tryExec('unshare', ['-m', 'sh', '-c', script, 'sh', ...command], {
        env: world.env,
      })

      expect(result).toMatchObject({ code: 125, stdout: '' })
      expect(result.stderr).toMatch(/^tsrun: [^\n]*libnftables[^\n]*\n {2}hint: [^\n]+\n$/)
    }),
  )
})
