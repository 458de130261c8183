// Real content: a Debian root with nginx, python3 and redis, as an OCI archive of three gzip layers. It is built once a machine,
// of the packages that apt is set up for, and kept outside of the repository. The first layer is what mmdebstrap makes; the packages are
// unpacked and configured by dpkg in containers of tsrun, without a network, and committed.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { succeed } from './command.ts'
import { Home, Registry } from './registry.ts'

const packages = ['nginx-light', 'python3-minimal', 'redis-server']
/** Half of a minimal root is never looked at here. */
const without = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*']
const minutes = 60_000

/** @returns the path of the archive, an image `debian:services` */
export async function debianArchive(): Promise<string> {
  const { codename, uri } = await debianSource()
  const recipe = readFileSync(new URL(import.meta.url), 'utf8')
  const key = createHash('sha256').update(`${codename} ${process.arch} ${recipe}`).digest('hex').slice(0, 16)
  const cache = process.env.TSRUN_TEST_CACHE ?? '/var/cache/tsrun-tests'
  const archive = join(cache, `debian-${codename}-${key}.tar`)
  if (existsSync(archive)) return archive
  mkdirSync(cache, { recursive: true })
  const work = mkdtempSync(join(cache, 'build-'))
  try {
    await bootstrap(work, codename, uri)
    await build(work, join(work, 'done.tar'))
    renameSync(join(work, 'done.tar'), archive)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return archive
}

/** Which Debian this machine runs, and where its apt takes it from. */
async function debianSource(): Promise<{ codename: string; uri: string }> {
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  const format = '$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)'
  const targets = (await succeed(['apt-get', 'indextargets', '--format', format])).split('\n')
  const uri = targets.find(line => line.endsWith(` ${codename} main Debian`))?.split(' ')[0]
  if (codename === undefined || uri === undefined)
    throw new Error('apt has no lists of the Debian that this machine runs: apt-get update')
  return { codename, uri }
}

/** `base.tar`, and in `debs/` the packages to install, which need no further ones. */
async function bootstrap(work: string, codename: string, uri: string): Promise<void> {
  const debs = join(work, 'debs')
  mkdirSync(debs)
  const fetched = '"$1"/var/cache/apt/archives/*.deb'
  const download = `chroot "$1" apt-get install -yq --download-only --no-install-recommends ${packages.join(' ')}`
  // The network is the machine's own here: only what its apt is set up for is asked.
  await succeed(
    [
      ...['mmdebstrap', '--quiet', '--variant=minbase', '--mode=root', '--dpkgopt=force-unsafe-io'],
      ...without.map(path => `--dpkgopt=path-exclude=${path}`),
      `--customize-hook=rm -f ${fetched} && ${download} && mv ${fetched} ${debs}`,
      ...[codename, join(work, 'base.tar'), uri],
    ],
    { timeoutMs: 5 * minutes, env: { PATH: process.env.PATH, TMPDIR: work } },
  )
}

async function build(work: string, target: string): Promise<void> {
  const home = new Home({ timeoutMs: 2 * minutes })
  const registry = await Registry.start()
  const step = async (from: string, to: string, script: string, ...changes: string[]): Promise<void> => {
    const debs = `${join(work, 'debs')}:/debs:ro`
    const command = ['run', '--name', 'step', '--net', 'none', '-v', debs, from, 'sh', '-ec', script]
    const { code, stdout, stderr } = await home.tsrun(command, { timeoutMs: 4 * minutes })
    if (code !== 0) throw new Error(`exit ${code}: ${script}\n${stdout}${stderr}`)
    await home.ok('commit', ...changes.flatMap(change => ['--change', change]), 'step', to)
    await home.ok('rm', 'step')
  }
  try {
    await home.ok('import', join(work, 'base.tar'), 'debian:base')
    // No service is to be started by its installation.
    await step(
      'debian:base',
      'debian:unpacked',
      `printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
      chmod 755 /usr/sbin/policy-rc.d; rm -rf /var/lib/apt/lists/*; dpkg --force-unsafe-io --force-depends --unpack /debs/*.deb`,
    )
    const image = `${registry.host}/debian:services`
    await step('debian:unpacked', image, 'DEBIAN_FRONTEND=noninteractive dpkg --configure -a', 'ENV LANG=C.UTF-8')
    // Pushing compresses the layers, so that later pushes do not have to.
    await home.ok('push', '-q', image)
    const copy = ['skopeo', 'copy', '-q', '--src-tls-verify=false', `docker://${image}`]
    await succeed([...copy, `oci-archive:${target}:debian:services`], { timeoutMs: minutes })
  } finally {
    await registry.stop()
    home.remove()
  }
}
