// What a container is made of, for tsrun-init: its OCI configuration, and what the monitor needs beside it.

import { rmSync } from 'node:fs'
import type { InitExtras } from '../../drivers/runtime/oci-to-init.ts'
import type { CgroupHandle } from '../../kernel/cgroup/cgroup.ts'
import type { SeccompFilter } from '../../kernel/seccomp/profile.ts'
import type { Undo } from '../../lib/rollback.ts'
import { writeJson, writeWhole } from '../../lib/state-file.ts'
import type { Container } from '../../model/container.ts'
import type { OciMount, OciSpec } from '../../model/oci-spec.ts'
import { defaultDeviceRules, type Resources } from '../../model/resources.ts'
import type { EngineContext } from '../context.ts'
import { heldPorts } from '../network/port-routes.ts'
import type { PreparedUserNamespace } from '../userns/prepare-userns.ts'
import { defaultSymlinks } from './default-mounts.ts'
import type { HostDevices } from './devices.ts'
import { prepareEtc } from './etc-dir.ts'
import { confinementOf, labelEtc } from './labels.ts'
import type { PreparedNetwork } from './prepare-network.ts'
import { prepareProcess } from './prepare-process.ts'
import { buildSpec } from './spec-builder.ts'
import { LAST_EXIT } from './teardown.ts'
import { prepareMounts } from './user-mounts.ts'

/** What a bundle is made of. */
interface BundleParts {
  readonly devices: HostDevices
  readonly network: PreparedNetwork
  readonly hasResolver: boolean
  readonly cgroup: CgroupHandle
  readonly undo: Undo
  /** Of the terminal, where there is one. */
  readonly consoleSize: { readonly rows: number; readonly columns: number } | undefined
}

/** The OCI configuration, also on disk as the bundle's config.json. */
export async function buildBundle(
  context: EngineContext,
  container: Container,
  parts: BundleParts,
): Promise<{ spec: OciSpec; seccomp: SeccompFilter | undefined; released(): void }> {
  const { paths } = context
  const { id } = container
  const { network, cgroup, consoleSize } = parts
  const confinement = await confinementOf(container)
  const prepared = await prepareMounts(context, container, parts.undo, confinement)
  const process = prepareProcess(context, container)
  const etcDir = prepareEtc(context, container, { ...network, hasResolver: parts.hasResolver })
  if (confinement.selinux !== undefined) await labelEtc(etcDir, confinement.selinux.files)
  const spec = buildSpec({
    container,
    user: process.user,
    hostname: network.hostname,
    rootfs: paths.runFile(id, 'rootfs'),
    layerDirs: container.image.layerDirs,
    upperDir: paths.containerFile(id, 'upper'),
    workDir: paths.containerFile(id, 'work'),
    etcDir,
    capabilities: process.capabilities,
    userMounts: prepared.mounts,
    cgroupMounts: cgroupMounts(cgroup),
    devices: parts.devices.nodes,
    namespaces: network.namespaces,
    confinement,
    cgroupsPath: cgroup.path,
    ...(consoleSize === undefined ? {} : { consoleSize: { height: consoleSize.rows, width: consoleSize.columns } }),
  })
  writeWhole(paths.runFile(id, 'config.json'), JSON.stringify(spec))
  const lastExit = context.store.readExit(id)
  // For whoever takes a start back that was cut off: until there is another end, this is the last one.
  if (lastExit !== undefined) writeJson(paths.runFile(id, LAST_EXIT), lastExit)
  rmSync(paths.containerFile(id, 'exit.json'), { force: true })
  if (lastExit !== undefined) parts.undo.add('last exit record', () => context.store.writeExit(id, lastExit))
  return { spec, seccomp: process.seccomp, released: prepared.release }
}

/** What tsrun-init needs beside it: what the monitor does, and how. */
export function initExtras(
  context: EngineContext,
  container: Container,
  parts: {
    network: PreparedNetwork
    cgroup: CgroupHandle
    devices: HostDevices
    users: PreparedUserNamespace | undefined
    seccomp: SeccompFilter | undefined
  },
): InitExtras {
  const { paths } = context
  const { id, spec } = container
  return {
    id,
    seccomp: parts.seccomp,
    cgroup: parts.cgroup,
    netnsFd: parts.network.netnsFd !== undefined,
    usernsPath: parts.users?.path,
    deviceSources: parts.devices.sources,
    stdin: spec.openStdin === true,
    stdinOnce: spec.stdinOnce === true,
    init: spec.init === true,
    symlinks: defaultSymlinks,
    monitor: {
      attachSocket: paths.runFile(id, 'attach.sock'),
      log:
        spec.log?.driver === 'none'
          ? undefined
          : {
              path: paths.containerFile(id, 'container.log'),
              maxBytes: spec.log?.maxSizeBytes ?? 0,
              maxFiles: spec.log?.maxFiles ?? 1,
            },
      exitFile: paths.containerFile(id, 'exit.json'),
      exitCommand: context.exitCommand(id),
      exitEnv: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      reservedPorts: parts.network.endpoints.flatMap(heldPorts),
    },
  }
}

/** The limits asked for, and the device list that every unprivileged container has. */
export function resourcesOf({ spec }: Container, devices: HostDevices): Resources {
  const { resources = {}, privileged, deviceRules = [] } = spec
  if (privileged === true) return resources
  return { ...resources, devices: resources.devices ?? [...defaultDeviceRules, ...devices.rules, ...deviceRules] }
}

/** The container's own cgroup, read-only: the namespace shows it as the root of each hierarchy. */
function cgroupMounts(cgroup: CgroupHandle): OciMount[] {
  const isV2Only = cgroup.v1Dirs.size === 0
  if (isV2Only)
    return [
      {
        destination: '/sys/fs/cgroup',
        type: 'cgroup2',
        source: 'cgroup',
        options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
      },
    ]
  return [
    {
      destination: '/sys/fs/cgroup',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'noexec', 'nodev', 'mode=755'],
    },
    ...[...cgroup.v1Dirs].map(([controller, source]) => ({
      destination: `/sys/fs/cgroup/${controller}`,
      type: 'bind',
      source,
      options: ['bind', 'ro', 'nosuid', 'noexec', 'nodev', 'rprivate'],
    })),
  ]
}
