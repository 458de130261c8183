// Makes the OCI image layout of the embedded busybox image. The same busybox gives the same digests: names are sorted, and all
// times are SOURCE_DATE_EPOCH or the time of the busybox binary, which is the time its package was built.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { encodeTarFile, encodeTarHeader, tarEnd, tarEntry } from '../src/lib/tar-writer.ts'
import { mediaTypes } from '../src/model/image.ts'

const { values } = parseArgs({
  options: {
    busybox: { type: 'string', default: '/bin/busybox' },
    output: { type: 'string', default: 'dist/images/busybox' },
  },
})

const etcFiles: Readonly<Record<string, { mode: number; lines: readonly string[] }>> = {
  'etc/group': {
    mode: 0o644,
    lines: [
      'root:x:0:',
      'daemon:x:1:',
      'bin:x:2:',
      'sys:x:3:',
      'tty:x:5:',
      'mail:x:8:',
      'www-data:x:33:',
      'users:x:100:',
      'nobody:x:65534:',
    ],
  },
  // Places for what tsrun binds there: without them each container would begin by making its own.
  'etc/hostname': { mode: 0o644, lines: [] },
  'etc/hosts': { mode: 0o644, lines: [] },
  'etc/nsswitch.conf': { mode: 0o644, lines: ['passwd: files', 'group: files', 'shadow: files', 'hosts: files dns'] },
  'etc/passwd': {
    mode: 0o644,
    lines: [
      'root:x:0:0:root:/root:/bin/sh',
      'daemon:x:1:1:daemon:/usr/sbin:/bin/false',
      'bin:x:2:2:bin:/bin:/bin/false',
      'sys:x:3:3:sys:/dev:/bin/false',
      'mail:x:8:8:mail:/var/spool/mail:/bin/false',
      'www-data:x:33:33:www-data:/var/www:/bin/false',
      'nobody:x:65534:65534:nobody:/home:/bin/false',
    ],
  },
  'etc/resolv.conf': { mode: 0o644, lines: [] },
  'etc/shadow': {
    mode: 0o600,
    lines: ['root', 'daemon', 'bin', 'sys', 'mail', 'www-data', 'nobody'].map(name => `${name}:*:::::::`),
  },
}

const directories: Readonly<Record<string, number>> = {
  bin: 0o755,
  dev: 0o755,
  etc: 0o755,
  home: 0o755,
  proc: 0o755,
  root: 0o700,
  sys: 0o755,
  tmp: 0o1777,
  usr: 0o755,
  'usr/bin': 0o755,
  'usr/sbin': 0o755,
  var: 0o755,
  'var/spool': 0o755,
  'var/spool/mail': 0o755,
  'var/tmp': 0o1777,
  'var/www': 0o755,
}

main(values.busybox, resolve(values.output))

function main(busybox: string, output: string): void {
  const epoch = Number(process.env.SOURCE_DATE_EPOCH ?? Math.floor(statSync(busybox).mtimeMs / 1000))
  const layer = buildLayer(busybox, epoch)
  const compressed = gzipSync(layer, { level: 9 })
  const version = execFileSync(busybox, { encoding: 'utf8', maxBuffer: 1 << 20 }).split('\n')[0] ?? ''
  const created = new Date(epoch * 1000).toISOString().replace('.000Z', 'Z')
  const config = json({
    created,
    ...platform(),
    config: {
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      Cmd: ['sh'],
      Labels: {
        'org.opencontainers.image.title': 'busybox',
        'org.opencontainers.image.version': /v([0-9.]+)/.exec(version)?.[1] ?? '',
        'org.opencontainers.image.description': version,
        'org.opencontainers.image.licenses': 'GPL-2.0-only',
      },
    },
    rootfs: { type: 'layers', diff_ids: [digest(layer)] },
    history: [{ created, created_by: 'tsrun scripts/build-image', comment: version }],
  })
  const manifest = json({
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: descriptor(mediaTypes.ociConfig, config),
    layers: [descriptor(mediaTypes.ociLayerGzip, compressed)],
  })
  const index = json({
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [
      {
        ...descriptor(mediaTypes.ociManifest, manifest),
        platform: platform(),
        annotations: {
          'io.containerd.image.name': 'docker.io/library/busybox:latest',
          'org.opencontainers.image.ref.name': 'latest',
        },
      },
    ],
  })
  rmSync(output, { recursive: true, force: true })
  const blobs = join(output, 'blobs', 'sha256')
  mkdirSync(blobs, { recursive: true })
  for (const blob of [compressed, config, manifest]) writeFileSync(join(blobs, digest(blob).slice(7)), blob)
  writeFileSync(join(output, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(output, 'index.json'), index)
  process.stdout.write(`${output}: ${digest(manifest)} (${compressed.length} bytes, ${version})\n`)
}

/** /bin/busybox, its applets as hard links beside it, and the few files a root file system is expected to have. */
function buildLayer(busybox: string, epoch: number): Buffer {
  const mtime = { seconds: epoch, nanoseconds: 0 }
  const parts: Buffer[] = []
  const applets = execFileSync(busybox, ['--list'], { encoding: 'utf8' }).split('\n').filter(Boolean)
  for (const [name, mode] of Object.entries(directories)) {
    parts.push(encodeTarHeader(tarEntry({ type: 'directory', name: `${name}/`, mode, mtime })))
    if (name === 'bin') {
      parts.push(encodeTarFile({ type: 'file', name: 'bin/busybox', mode: 0o755, mtime }, readFileSync(busybox)))
      for (const applet of applets.filter(applet => applet !== 'busybox').sort()) {
        const link = { name: `bin/${applet}`, linkName: 'bin/busybox', mode: 0o755, mtime }
        parts.push(encodeTarHeader(tarEntry({ type: 'hardlink', ...link })))
      }
    }
    for (const [file, { mode, lines }] of Object.entries(etcFiles)) {
      if (dirname(file) === name) parts.push(encodeTarFile({ type: 'file', name: file, mode, mtime }, text(lines)))
    }
    // Scripts begin with `#!/usr/bin/env`.
    const env = { name: 'usr/bin/env', linkName: '../../bin/env', mode: 0o777, mtime }
    if (name === 'usr/bin') parts.push(encodeTarHeader(tarEntry({ type: 'symlink', ...env })))
  }
  return Buffer.concat([...parts, tarEnd])
}

function platform(): { os: string; architecture: string; variant?: string } {
  if (process.arch === 'arm64') return { os: 'linux', architecture: 'arm64', variant: 'v8' }
  return { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch }
}

function descriptor(mediaType: string, blob: Buffer): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest: digest(blob), size: blob.length }
}

function digest(blob: Buffer): string {
  return `sha256:${createHash('sha256').update(blob).digest('hex')}`
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

function text(lines: readonly string[]): Buffer {
  return Buffer.from(`${lines.join('\n')}\n`)
}
