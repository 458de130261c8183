// What else happens to machines: disks that fill up, descriptors and processes that run out, state files that somebody damaged, a
// state directory that somebody wiped, a clock that goes back.

import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { execute, type Result, succeed } from '../helpers/command.ts'
import { addresses, inWorld, pageOf, type World } from '../helpers/world.ts'

/** Where the next address is looked for, and what the first image or build makes for good. */
const ignore = [/ipam\/.*(last|next)/, /^file appeared: \/root\/(images|build)\/\w+\/$/]

describe('a full disk', () => {
  // Each level is the space that is left when the command begins: with some, it fails at another of its writes.
  const levelsKiB = [0, 8, 32]
  const commands = [
    ['create', '--name', 'victim', '-net', 'br', 'busybox', 'true'],
    ['run', '--rm', '--name', 'victim', '-net', 'br', '-p', '8080:80', 'busybox', 'true'],
    ['network', 'create', '--subnet', '10.52.0.0/24', 'made'],
    ['volume', 'create', 'made'],
    ['load', '-q', '-i', '../image.tar'],
  ]

  test.each(['root', 'state'] as const)(
    'below the %s directory: every command succeeds, or says so and leaves nothing; with room it works again',
    which =>
      inWorld(async world => {
        const folder = world[which]
        mkdirSync(folder)
        await succeed(['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tsrun-test', folder])
        try {
          await prepare(world)
          const before = await world.settled()
          const problems: string[] = []
          let refused = 0
          for (const level of levelsKiB) {
            for (const command of commands) {
              await fill(folder, level)
              const result = await world.tsrun(command, { timeoutMs: 60_000 })
              rmSync(join(folder, 'filler'))
              if (result.code !== 0) refused += 1
              problems.push(...complaint(result).map(text => `${command.join(' ')} with ${level} KiB: ${text}`))
              // What was made has to go; what was refused must have left nothing to remove.
              if (result.code === 0) await remove(world)
              const changes = await world.changesSince(before, { ignore, timeoutMs: 6_000 })
              problems.push(...changes.map(change => `${command.join(' ')} with ${level} KiB: ${change}`))
            }
          }

          expect(problems).toEqual([])
          expect(refused).toBeGreaterThan(0)
          for (const command of commands) {
            await world.ok(command, { timeoutMs: 60_000 })
            await remove(world)
          }
        } finally {
          await world.tsrun(['network', 'rm', 'br', 'bridge'])
          await execute(['umount', '-l', folder])
        }
      })(),
    240_000,
  )

  test(
    'keeps no container alive: stop and kill end it, except where its policy would start it again, which is said',
    inWorld(async world => {
      mkdirSync(world.root)
      await succeed(['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tsrun-test', world.root])
      try {
        for (const name of ['ended', 'stopped', 'killed'])
          await world.ok(['run', '-d', '--name', name, 'busybox', 'sleep', '1000'])
        await world.ok(['run', '-d', '--name', 'always', '--restart', 'always', 'busybox', 'sleep', '1000'])
        await fill(world.root, 0)

        process.kill((await world.json(['inspect', 'ended']))[0].State.Pid, 'SIGKILL')
        await world.ok(['stop', '-t', '0', 'stopped'])
        await world.ok(['kill', 'killed'])
        for (const verb of ['stop', 'kill']) {
          const { code, stderr } = await world.tsrun([verb, 'always'])
          expect([code, stderr]).toEqual([1, expect.stringMatching(/no space left.*\n {2}hint: /)])
        }
        expect(await world.ok(['ps', '--format', '{{.Names}}'])).toBe('always')
        expect(await world.ok(['inspect', '-f', '{{.State.Status}}', 'stopped'])).toBe('exited')
        expect(await world.ok(['ps', '-a', '--filter', 'status=exited', '--format', '{{.Names}}'])).toBe(
          'killed\nstopped\nended',
        )

        rmSync(join(world.root, 'filler'))
        await world.ok(['rm', '-f', 'ended', 'stopped', 'killed', 'always'])
        await world.ok(['network', 'rm', 'bridge'])
      } finally {
        await execute(['umount', '-l', world.root])
      }
    }),
    60_000,
  )

  async function prepare(world: World): Promise<void> {
    await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
    await world.ok(['run', '--rm', '-net', 'br', '-p', '8080:80', 'busybox', 'true'])
    await world.ok(['run', '--name', 'maker', 'busybox', 'sh', '-c', 'echo app > /app'])
    await world.ok(['commit', 'maker', 'app'])
    await world.ok(['save', '-o', join(world.dir, 'image.tar'), 'app'])
    await world.ok(['rm', 'maker'])
    await remove(world)
  }

  async function remove(world: World): Promise<void> {
    await world.tsrun(['rm', '-f', 'victim'])
    await world.tsrun(['network', 'rm', 'made'])
    await world.tsrun(['volume', 'rm', 'made'])
    await world.tsrun(['rmi', '-f', 'app'])
    await world.tsrun(['image', 'prune', '-f'])
  }

  /** Fills the file system up and then gives some of it back. */
  async function fill(folder: string, leftKiB: number): Promise<void> {
    const filler = join(folder, 'filler')
    await execute(['sh', '-c', `cat /dev/zero > ${filler} 2>/dev/null`])
    await succeed(['truncate', '-s', String(Math.max(statSync(filler).size - leftKiB * 1024, 0)), filler])
  }

  function complaint({ code, stderr }: Result): string[] {
    if (code === 0 || /no space left|ENOSPC|disk is full/i.test(stderr)) return []
    return [`ended with ${code}: ${stderr}`]
  }
})

describe('a damaged state file', () => {
  const damages: [string, (content: string) => string, RegExp][] = [
    ['empty', () => '', /is damaged: /],
    ['cut off', content => content.slice(0, content.length / 2), /is damaged: /],
    ['of another kind', () => '[]', /is damaged: it is not a JSON object/],
    ['without its fields', () => '{}', /is damaged: "\w+" is not a /],
    ['from a newer version', content => content.replace('{', '{"format": 2,'), /newer tsrun: its format is 2/],
  ]

  test(
    'is named with what to do about it, is left alone, and harms nothing else',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
      await world.ok(['volume', 'create', 'vol'])
      await world.ok(['run', '--name', 'ended', 'busybox', 'true'])
      const ended = (await world.ok(['inspect', '-f', '{{.Id}}', 'ended'])).trim()
      const id = await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])
      const other = await world.ok(['run', '-d', '--name', 'other', 'busybox', 'sleep', '1000'])
      const cases: [string, string[]][] = [
        [join(world.root, 'containers', id, 'container.json'), ['inspect', 'box']],
        [join(world.state, 'containers', id, 'run.json'), ['exec', 'box', 'true']],
        [join(world.root, 'containers', ended, 'exit.json'), ['inspect', 'ended']],
        [join(world.root, 'networks', 'br.json'), ['network', 'inspect', 'br']],
        [join(world.root, 'volumes', 'vol', 'volume.json'), ['volume', 'inspect', 'vol']],
      ]

      const problems: string[] = []
      for (const [file, command] of cases) {
        const content = readFileSync(file, 'utf8')
        for (const [title, damage, reason] of damages) {
          // An exit without its content is one that is lost: see below.
          if (file.endsWith('/exit.json') && title === 'empty') continue
          const damaged = damage(content)
          writeFileSync(file, damaged)
          const { code, stderr } = await world.tsrun(command)
          const says = code !== 0 && stderr.includes(file) && reason.test(stderr) && /\n {2}hint: /.test(stderr)
          if (!says) problems.push(`${title}: ${command.join(' ')} says ${code}: ${stderr}`)
          if (readFileSync(file, 'utf8') !== damaged) problems.push(`${title}: ${file} was changed`)
        }
        const { code, stderr } = await world.tsrun(['exec', 'other', 'true'])
        if (code !== 0) problems.push(`beside ${file}, exec says ${stderr}`)
        writeFileSync(file, content)
      }

      expect(problems).toEqual([])
      expect((await world.ok(['ps', '-q', '--no-trunc'])).split('\n').sort()).toEqual([id, other].sort())
      await world.ok(['volume', 'rm', 'vol'])
    }),
    120_000,
  )
})

test(
  'an exit that a failing disk left without its content is lost, and keeps the container from nothing',
  inWorld(async world => {
    const id = await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sh', '-c', 'exit 7'])
    expect(await world.ok(['wait', 'box'])).toBe('7')
    writeFileSync(join(world.root, 'containers', id, 'exit.json'), '')

    expect(await world.ok(['ps', '-aq', '--no-trunc'])).toBe(id)
    await world.ok(['inspect', 'box'])
    await world.ok(['image', 'prune', '-a', '-f'])
    await world.ok(['start', 'box'])
    expect(await world.ok(['wait', 'box'])).toBe('7')
    await world.ok(['rm', 'box'])
  }),
)

describe('a wiped state directory', () => {
  test(
    'does not end containers: they are found again, serve, and can be stopped and removed',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
      const id = await world.serve('web', ['-net', 'br', '-p', '8080:80'])
      const ip = await world.addressOf('web')
      const { State } = (await world.json(['inspect', 'web']))[0]

      rmSync(world.state, { recursive: true })

      expect(await world.ok(['ps', '-q', '--no-trunc'])).toBe(id)
      expect((await world.json(['inspect', 'web']))[0].State.Pid).toBe(State.Pid)
      expect(await world.addressOf('web')).toBe(ip)
      const page = await world.outside.curl(`http://${addresses.host}:8080/`)
      expect(page.body).toBe(pageOf('web', addresses.router))
      // Its address is not given to the next one.
      await world.ok(['run', '-d', '--name', 'second', '-net', 'br', 'busybox', 'sleep', '1000'])
      expect(await world.addressOf('second')).not.toBe(ip)
      expect((await world.tsrun(['exec', 'web', 'true'])).stderr).toMatch(/is gone from .*\n {2}hint: .*restart web/)
      await world.ok(['restart', '-t', '0', 'web'])
      await world.ok(['exec', 'web', 'true'])
      rmSync(world.state, { recursive: true })
      await world.ok(['stop', '-t', '0', 'web'])
      expect(await world.ok(['ps', '-q', '--no-trunc', '--filter', 'name=web'])).toBe('')
      await world.ok(['rm', 'web'])
      await world.ok(['rm', '-f', 'second'])
      // What forwarding was before tsrun came was noted down there as well: nobody knows any more.
      await world.host.sh('sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=1')
    }),
    90_000,
  )
})

describe('what runs out', () => {
  const command = ['run', '--rm', '--name', 'victim', '-net', 'br', '-p', '8080:80', 'busybox', 'true']

  test(
    'descriptors: the command works or fails, leaves nothing, and the next one works',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
      await world.ok(command)
      const before = await world.settled()
      const outcomes: string[] = []
      for (const limit of [16, 24, 40, 256]) {
        const limited = ['prlimit', `--nofile=${limit}`, ...world.tsrunCommand(command)]
        const { code, stderr } = await execute(limited, { env: world.env, cwd: world.dir, timeoutMs: 60_000 })
        outcomes.push(`${limit}: ${code}`)
        if (code !== 0) expect(stderr, `with ${limit} descriptors`).not.toBe('')
      }

      await world.ok(command)
      expect(await world.changesSince(before, { ignore, timeoutMs: 8_000 }), outcomes.join(', ')).toEqual([])
      expect(outcomes.at(-1)).toBe('256: 0')
      expect(outcomes.some(outcome => !outcome.endsWith(': 0'))).toBe(true)
    }),
    120_000,
  )
})

test(
  'a client that is refused a thread ends, whichever it is, and its container with it',
  inWorld(async world => {
    const archive = join(world.dir, 'image.tar')
    await world.ok(['save', '-o', archive, 'busybox'])
    const commands = [
      ['run', '--rm', 'busybox', 'true'],
      ['load', '-i', archive],
    ]
    for (const command of commands) await world.ok(command)
    const before = await world.settled()
    for (const command of commands) {
      const said: string[] = []
      for (const nth of [2, 3, 4, 5, 6]) {
        const log = join(world.dir, 'strace.log')
        const refused = ['-qq', `--inject=clone3:error=EAGAIN:when=${nth}`, '--trace=clone3', '-o', log]
        const traced = ['strace', ...refused, ...world.tsrunCommand(command)]
        const { code, signal, stderr } = await execute(traced, { env: world.env, cwd: world.dir })
        // Some threads are the runtime's own: it aborts without them, as if it were killed.
        if (signal === 'SIGABRT') await world.removeContainers()
        else if (code !== 0) expect(stderr).toMatch(/^tsrun: /)
        said.push(stderr)
      }
      expect(said.join('\n'), command[0]).toContain('the kernel refuses this process a thread')
      await world.ok(command)
    }
    expect(await world.changesSince(before, { ignore, timeoutMs: 8_000 })).toEqual([])
  }),
  120_000,
)

test(
  'a clock that goes back, and locks that are deleted while they are held, break nothing',
  inWorld(async world => {
    const id = await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])
    const file = join(world.root, 'containers', id, 'container.json')
    // As if it had been made tomorrow, by the clock of today.
    const future = new Date(Date.now() + 86_400_000).toISOString()
    const record = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(file, JSON.stringify({ ...record, createdAt: future, startedAt: future }))
    expect(await world.ok(['ps', '--format', '{{.Names}} {{.Status}} {{.RunningFor}}'])).not.toMatch(
      /-\d|NaN|undefined/,
    )
    await world.ok(['restart', '-t', '0', 'box'])
    await world.ok(['rm', '-f', 'box'])

    const made = Array.from({ length: 5 }, () => world.tsrun(['network', 'create', '--subnet', '10.51.0.0/24', 'br']))
    const locks = join(world.state, 'locks')
    for (let n = 0; n < 20; n++) {
      for (const name of readdirSync(locks)) rmSync(join(locks, name), { force: true })
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    const results = await Promise.all(made)

    expect(results.map(({ code }) => code).sort()).toEqual([0, 1, 1, 1, 1])
    await world.ok(['run', '--rm', '-net', 'br', 'busybox', 'true'])
  }),
  90_000,
)
