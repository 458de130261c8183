// What a command that was broken half way leaves to be seen: the file, the name, the record that were there before.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { faceCommand, inWorld } from '../helpers/world.ts'

test(
  'what standard output has no room for is told, without a stack trace',
  inWorld(async world => {
    for (const line of ['version', 'ps', 'images', 'network ls', 'create --name made busybox true', 'info']) {
      const { code, stderr } = await world.host.tryExec('sh', ['-c', `${faceCommand().join(' ')} ${line} > /dev/full`])

      expect(code, line).toBe(1)
      expect(stderr, line).toMatch(/^tsrun: cannot write: no space left on device \(write: ENOSPC\)\n {2}hint: .+\n$/)
    }
    await world.ok(['rm', 'made'])
  }),
  60_000,
)

test(
  'save and export that fail leave the file that was there, and none beside it',
  inWorld(async world => {
    const file = join(world.dir, 'work', 'out.tar')
    writeFileSync(file, 'what stood there')
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])
    const env = { ...world.env, TSRUN_FAULT: 'archive written:fail' }

    expect((await world.tsrun(['save', '-o', 'out.tar', 'no-such-image'])).code).toBe(1)
    expect((await world.tsrun(['save', '-o', 'out.tar', 'busybox'], { env })).code).toBe(1)
    expect((await world.tsrun(['export', '-o', 'out.tar', 'box'], { env })).code).toBe(1)
    expect((await world.tsrun(['export', '-o', 'no-such-folder/out.tar', 'box'])).stderr).toMatch(
      /^tsrun: cannot write "no-such-folder\/out.tar": /,
    )

    expect(readFileSync(file, 'utf8')).toBe('what stood there')
    expect(readdirSync(join(world.dir, 'work'))).toEqual(['out.tar'])
    await world.ok(['export', '-o', 'out.tar', 'box'])
    expect(await world.host.exec('tar', ['-tf', file])).toContain('bin/busybox')
    expect(readdirSync(join(world.dir, 'work'))).toEqual(['out.tar'])
    await world.host.exec('rm', [file])
  }),
  60_000,
)

test.each(['new name', 'write container.json', 'write run.json'])(
  'a renaming that is killed at "%s" leaves one name, and the other is free',
  step =>
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      await world.ok(['run', '-d', '--name', 'old', '-net', 'br', 'busybox', 'sleep', '1000'])

      await world.tsrun(['rename', 'old', 'new'], { env: { ...world.env, TSRUN_FAULT: `${step}:kill` } })

      const name = await world.ok(['ps', '--format', '{{.Names}}'])
      const free = name === 'new' ? 'old' : 'new'
      expect(['old', 'new']).toContain(name)
      expect(await world.ok(['network', 'inspect', 'br'])).not.toContain(`"${free}"`)
      expect(await world.ok(['run', '--rm', '-net', 'br', 'busybox', 'nslookup', name])).toContain(name)
      await world.ok(['create', '--name', free, 'busybox', 'true'])
      await world.ok(['rm', '-f', 'old', 'new'])
    })(),
  60_000,
)

test(
  'of a further process whose monitor is killed behind its record nothing stays',
  inWorld(async world => {
    const env = { ...world.env, TSRUN_FAULT: 'init exit-frame:kill' }
    await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])

    await world.tsrun(['exec', 'box', 'true'], { env })

    expect(readdirSync(join(world.state, 'execs'))).toEqual([])
    await world.ok(['rm', '-f', 'box'])
  }),
  60_000,
)

test.each(['last exit record', 'init'])(
  'a start that is killed at "%s" leaves the end before on record',
  step =>
    inWorld(async world => {
      expect((await world.tsrun(['run', '--name', 'box', 'busybox', 'sh', '-c', 'exit 3'])).code).toBe(3)

      await world.tsrun(['start', 'box'], { env: { ...world.env, TSRUN_FAULT: `${step}:kill` } })

      expect(await world.ok(['ps', '-a', '--format', '{{.Status}}'])).toMatch(/^Exited \(3\)/)
      await world.ok(['rm', 'box'])
    })(),
  60_000,
)
