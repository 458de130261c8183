// The embedded busybox image.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { execute } from '../helpers/command.ts'
import { inWorld, World } from '../helpers/world.ts'

describe('busybox', () => {
  test('is there without a registry and without a network', async () => {
    const world = await World.create()
    await world.host.sh('ip link set eth0 down')

    const result = await world.tsrun(['run', '--rm', 'busybox', 'echo', 'hello'])

    await world.dispose({ leakCheck: false })
    expect(result).toMatchObject({ stdout: 'hello\n', stderr: '', code: 0 })
  })

  test.each(['busybox', 'busybox:latest', 'docker.io/library/busybox', 'library/busybox:latest'])(
    'is found as %s',
    name =>
      inWorld(async world => {
        expect(await world.ok(['run', '--rm', name, 'echo', 'hello'])).toBe('hello')
      })(),
  )

  test(
    'has all applets, users, groups and a /tmp for everybody',
    inWorld(async world => {
      const sh = (script: string) => world.ok(['run', '--rm', 'busybox', 'sh', '-c', script])

      expect(await sh('for applet in $(busybox --list); do which "$applet" >/dev/null || echo "$applet"; done')).toBe(
        '',
      )
      expect(await sh('id')).toMatch(/^uid=0\(root\) gid=0\(root\)/)
      expect(await sh('grep -c . /etc/passwd /etc/group')).toMatch(/passwd:[1-9]\d*\n.*group:[1-9]/)
      expect(await sh('stat -c "%a %U" /tmp')).toBe('1777 root')
      expect(await sh('echo $PATH')).toBe('/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
      expect(await sh('ls -ld /root /home /var /etc | cut -c1-10 | sort -u | head -n 1')).toMatch(/^d/)
    }),
  )

  test(
    'is shown by images',
    inWorld(async world => {
      await world.ok(['run', '--rm', 'busybox', 'true'])

      const [head, ...lines] = (await world.ok(['images'])).split('\n')

      expect(head).toMatch(/^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE *$/)
      expect(lines).toContainEqual(expect.stringMatching(/^busybox +latest +[0-9a-f]{12} +.* +\d/))
    }),
  )

  test(
    'is kept as an OCI layout whose blobs are what their names say',
    inWorld(async world => {
      await world.ok(['run', '--rm', 'busybox', 'true'])

      const layout = (await execute(['find', world.root, '-name', 'oci-layout'])).stdout.trim()
      expect(JSON.parse(readFileSync(layout, 'utf8'))).toEqual({ imageLayoutVersion: '1.0.0' })
      const folder = join(layout, '..')
      const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'))
      const blob = (digest: string) => join(folder, 'blobs', ...digest.split(':'))
      const manifest = JSON.parse(readFileSync(blob(index.manifests[0].digest), 'utf8'))
      const config = JSON.parse(readFileSync(blob(manifest.config.digest), 'utf8'))
      expect(manifest.layers).toHaveLength(1)
      expect(config).toMatchObject({ os: 'linux', config: { Cmd: ['sh'], Env: [expect.stringMatching(/^PATH=/)] } })
      const wrong = await execute([
        'sh',
        '-c',
        `cd ${folder}/blobs/sha256 && for name in *; do echo "$name  $name"; done | sha256sum -c --quiet`,
      ])
      expect(wrong).toMatchObject({ stdout: '', code: 0 })
    }),
  )

  test(
    'is unpacked once for all containers',
    inWorld(async world => {
      await world.ok(['run', '-d', 'busybox', 'sleep', '1000'])
      const one = (await execute(['find', world.root, '-xdev', '-name', 'busybox', '-type', 'f'])).stdout

      await world.ok(['run', '-d', 'busybox', 'sleep', '1000'])
      expect((await execute(['find', world.root, '-xdev', '-name', 'busybox', '-type', 'f'])).stdout).toBe(one)
      expect(one.trim().split('\n')).toHaveLength(1)
    }),
  )

  test(
    'is imported once when many ask for it first at the same moment',
    inWorld(async world => {
      const results = await Promise.all(
        Array.from({ length: 8 }, () =>
          world.tsrun(['run', '--rm', 'busybox', 'echo', 'hello'], { timeoutMs: 60_000 }),
        ),
      )

      for (const result of results) expect(result).toMatchObject({ stdout: 'hello\n', stderr: '', code: 0 })
    }),
  )
})
