// Errors of the machine and of the user: each says what, why and what to do, with the right exit code.

import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { execute, succeed } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { defaultFace, dist, faceCommand, inWorld, type World } from '../helpers/world.ts'

/** The installed executable in a folder of the world, to be broken there. */
function copyExecutable(world: World): string {
  const folder = join(world.dir, 'installed')
  mkdirSync(folder)
  for (const name of ['tsrun', 'koffi.node', 'tsrun-init', 'images']) {
    cpSync(join(dist, name), join(folder, name), { recursive: true })
  }
  return folder
}

describe('the user', () => {
  test(
    'who is not root is told so',
    inWorld(async world => {
      chmodSync(world.dir, 0o777)
      const command = world.host.command('setpriv', [
        '--reuid',
        '65534',
        '--regid',
        '65534',
        '--clear-groups',
        ...faceCommand(),
      ])
      // Where somebody else may not even read our checkout there is nothing to test.
      const readable = await execute([
        'setpriv',
        '--reuid',
        '65534',
        '--clear-groups',
        'test',
        '-r',
        faceCommand().at(-1) ?? '',
      ])
      expect(readable.code, 'the build must be readable for others').toBe(0)

      const run = await execute([...command, 'run', 'busybox', 'true'], { env: world.env })
      const create = await execute([...command, 'network', 'create', 'br'], { env: world.env })

      expectError(run, 125, /root|permitted|denied|CAP_/)
      expectError(create, 1, /root|permitted|denied|CAP_/)
      expect(run.stderr).toMatch(/hint: .*root/)
    }),
  )

  test.each([
    [['nonsense'], /"?nonsense"?/],
    [['network', 'nonsense'], /"?nonsense"?/],
    [['--nonsense', 'ps'], /--nonsense/],
    [['ps', '--nonsense'], /--nonsense/],
    [['ps', 'extra'], /argument|extra/],
  ])('who mistypes is told what is unknown: %j', (args, message) =>
    inWorld(async world => {
      const result = await world.tsrun(args)

      expect(result.code).not.toBe(0)
      expect(result.stderr).toMatch(message)
      expect(result.stderr).toMatch(/^tsrun: /)
    })(),
  )

  test(
    'who asks for help gets it, on stdout',
    inWorld(async world => {
      for (const args of [
        ['--help'],
        ['run', '--help'],
        ['network', '--help'],
        ['network', 'create', '--help'],
        ['help'],
      ]) {
        const result = await world.tsrun(args)

        expect(result).toMatchObject({ code: 0, stderr: '' })
        expect(result.stdout).toMatch(/usage/i)
      }
      expect(await world.ok(['version'])).toMatch(/\d+\.\d+\.\d+/)
      expect(await world.ok(['--version'])).toMatch(/\d+\.\d+\.\d+/)
    }),
  )

  test(
    'who asks for an image that is not there is told how to get one',
    inWorld(async world => {
      const before = await world.settled()

      const result = await world.tsrun(['run', 'no-such-image:1', 'true'])

      expect(result).toMatchObject({ stdout: '', code: 125 })
      // As docker does, it first says that it will pull.
      expect(result.stderr).toMatch(/(^|\n)tsrun: [^\n]*"no-such-image:1"[^\n]*\n {2}hint: [^\n]+\n$/)
      expect((await world.changesSince(before)).filter(change => !change.startsWith('file '))).toEqual([])
    }),
  )

  test.each(['Upper', 'a b', 'busybox:', ':tag', 'busybox@sha256:short', ''])(
    'who writes %j for an image is told that it is none',
    image =>
      inWorld(async world => {
        expectError(await world.tsrun(['run', image, 'true']), 125, /image|reference/)
      })(),
  )
})

describe('the machine', () => {
  test(
    'that cannot write the root folder',
    inWorld(async world => {
      writeFileSync(join(world.dir, 'file'), '')

      expectError(
        await world.tsrun(['--root', join(world.dir, 'file'), 'run', 'busybox', 'true']),
        125,
        /file".*(not a directory|ENOTDIR|exists)/i,
      )
      expectError(
        await world.tsrun(['--state', join(world.dir, 'file'), 'run', 'busybox', 'true']),
        125,
        /file".*(not a directory|ENOTDIR|exists)/i,
      )
    }),
  )

  test(
    'whose state folder is read-only',
    inWorld(async world => {
      mkdirSync(world.state)
      await succeed(['mount', '-t', 'tmpfs', '-o', 'ro', 'tsrun-test', world.state])
      try {
        expectError(await world.tsrun(['run', 'busybox', 'true']), 125, /state.*(read-only|EROFS)/i)
      } finally {
        await succeed(['umount', world.state])
      }
    }),
  )

  test(
    'whose disk is full',
    inWorld(async world => {
      mkdirSync(world.root)
      await succeed(['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tsrun-test', world.root])
      try {
        const result = await world.tsrun(['run', '--name', 'web', 'busybox', 'true'])

        expectError(result, 125, /no space left|ENOSPC/i)
        expect((await world.snapshot()).get('mount')).toHaveLength(1)
        expect((await world.snapshot()).get('process')).toEqual([])
      } finally {
        await succeed(['umount', world.root])
      }
    }),
  )

  test(
    'whose disk gets full while containers stand on it',
    inWorld(async world => {
      mkdirSync(world.root)
      await succeed(['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tsrun-test', world.root])
      try {
        await world.ok(['network', 'create', 'br'])
        await world.serve('web', ['-net', 'br', '-p', '8080:80'])
        await execute(['sh', '-c', `cat /dev/zero > ${world.root}/filler`])
        const before = await world.settled()

        const run = await world.tsrun(['run', '-net', 'br', 'busybox', 'true'])
        const create = await world.tsrun(['network', 'create', 'second'])

        expectError(run, 125, /no space left|ENOSPC/i)
        expectError(create, 1, /no space left|ENOSPC/i)
        expect(await world.changesSince(before, { timeoutMs: 1000 })).toEqual([])
        // What removes needs no space.
        rmSync(join(world.root, 'filler'))
        await world.ok(['rm', '-f', 'web'])
        await world.ok(['network', 'rm', 'br'])
      } finally {
        await execute(['umount', '-l', world.root])
      }
    }),
  )

  test(
    'with a damaged state file names the file',
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      const file = join(world.root, 'networks', 'br.json')
      const content = readFileSync(file)
      writeFileSync(file, '{ half')

      const result = await world.tsrun(['network', 'inspect', 'br'])

      expect(result.code).toBe(1)
      expect(result.stderr).toMatch(/tsrun: .*br\.json/)
      writeFileSync(file, content)
    }),
  )
})

// The executable alone is installed; `node dist/cli.js` finds its parts in the package.
describe.runIf(defaultFace === 'executable')('an executable', () => {
  test(
    'whose addon others can write is refused',
    inWorld(async world => {
      const folder = copyExecutable(world)
      chmodSync(join(folder, 'koffi.node'), 0o666)

      const result = await execute(world.host.command(join(folder, 'tsrun'), ['ps']), { env: world.env })

      expect(result.code).not.toBe(0)
      expect(result.stderr).toMatch(/koffi\.node/)
      expect(result.stderr).toMatch(/^tsrun: [^\n]+\n( {2}hint: [^\n]+\n)?$/)
    }),
  )

  test(
    'whose tsrun-init others can write is refused',
    inWorld(async world => {
      const folder = copyExecutable(world)
      chmodSync(join(folder, 'tsrun-init'), 0o777)

      const result = await execute(world.host.command(join(folder, 'tsrun'), ['run', 'busybox', 'true']), {
        env: world.env,
      })

      expectError(result, 125, /tsrun-init/)
    }),
  )

  test(
    'in a folder that others can write is refused',
    inWorld(async world => {
      const folder = copyExecutable(world)
      chmodSync(folder, 0o777)

      const result = await execute(world.host.command(join(folder, 'tsrun'), ['run', 'busybox', 'true']), {
        env: world.env,
      })

      expect(result.code).not.toBe(0)
      expect(result.stderr).toMatch(/can be changed by others/)
    }),
  )

  test.each(['koffi.node', 'tsrun-init', 'images'])('without its %s says what is missing', name =>
    inWorld(async world => {
      const folder = copyExecutable(world)
      rmSync(join(folder, name), { recursive: true })

      const result = await execute(world.host.command(join(folder, 'tsrun'), ['run', 'busybox', 'true']), {
        env: world.env,
      })

      // Without the addon nothing can start, not even the command line's own reading of `run`.
      expect(result.code).toBe(name === 'koffi.node' ? 1 : 125)
      // Without the embedded image it tries to pull one, and says so first.
      expect(result.stderr).toMatch(/(^|\n)tsrun: [^\n]+\n( {2}hint: [^\n]+\n)?$/)
      expect(result.stderr).toMatch(name === 'images' ? /busybox/ : new RegExp(name))
    })(),
  )
})
