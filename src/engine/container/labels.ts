// What AppArmor and SELinux shall know a container by. A host without them, which is most of what this costs to find out, is two
// looks at /sys.

import { existsSync } from 'node:fs'
import type { ContainerLabels } from '../../kernel/lsm/selinux.ts'
import type { Container } from '../../model/container.ts'
import { parseSecurityOptions } from '../../model/security-options.ts'

/** Absent fields: not confined by that. */
export interface Confinement {
  /** The AppArmor profile of its processes. */
  readonly apparmor?: string
  readonly selinux?: ContainerLabels
}

/** The files that are bound into the container's /etc lie in a folder whose label it may not read. */
export async function labelEtc(directory: string, label: string): Promise<void> {
  const { relabel } = await import('../../kernel/lsm/relabel.ts')
  for (const file of ['hosts', 'hostname', 'resolv.conf']) relabel(`${directory}/${file}`, label)
}

/** @throws TsrunError unsupported (asked for on a host that has it not), not-found (profile), system */
export async function confinementOf({ id, spec }: Container): Promise<Confinement> {
  const options = parseSecurityOptions(spec.securityOpt ?? [])
  const isAsked = options.apparmor !== undefined || options.label !== undefined
  if (!isAsked && !existsSync('/sys/module/apparmor') && !existsSync('/sys/fs/selinux/enforce')) return {}
  const [{ AppArmor }, { SeLinux }] = await Promise.all([
    import('../../kernel/lsm/apparmor.ts'),
    import('../../kernel/lsm/selinux.ts'),
  ])
  // As docker: what is privileged is not confined unless it is asked for by name.
  const privileged = spec.privileged === true
  const apparmor = new AppArmor().profileFor(options.apparmor ?? (privileged ? 'unconfined' : undefined))
  const selinux = new SeLinux().labelsFor(options.label ?? (privileged ? 'disable' : undefined), id)
  return { ...(apparmor === undefined ? {} : { apparmor }), ...(selinux === undefined ? {} : { selinux }) }
}
