// What a container may be asked to be, whoever asks: the command line and the library come through here before anything is made.
// Each rule stands where its subject is; this is the list of them.

import { resolveCapabilities } from '../../kernel/capabilities.ts'
import { tryParseAddress } from '../../lib/ip.ts'
import type { ContainerSpec, MountSpec, NetworkAttachment } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { checkJoining } from '../../model/joining.ts'
import { validateResources } from '../../model/parse-resources.ts'
import { parseSecurityOptions } from '../../model/security-options.ts'
import { checkSysctls } from '../../model/sysctl-keys.ts'
import { checkUlimit } from '../../model/ulimits.ts'
import { printable } from '../ids.ts'
import { standsAlone, staticIps } from '../network/plan-endpoints.ts'
import { signalNumber } from './signals.ts'

/** @throws TsrunError invalid, denied (capability) */
export function assertValidSpec(spec: ContainerSpec): void {
  validateResources(spec.resources ?? {})
  for (const limit of spec.ulimits ?? []) checkUlimit(limit)
  checkSysctls(spec.sysctls ?? {}, {
    network: spec.networks?.[0]?.network === 'host',
    ipc: spec.ipcMode === 'host',
    uts: spec.utsMode === 'host',
  })
  checkNamespaceModes(spec)
  if (spec.stopSignal !== undefined) signalNumber(spec.stopSignal)
  parseSecurityOptions(spec.securityOpt ?? [])
  resolveCapabilities({ add: spec.capAdd ?? [], drop: spec.capDrop ?? [], privileged: spec.privileged === true })
  for (const attachment of spec.networks ?? []) {
    checkAddresses(attachment)
    checkJoining(attachment)
  }
  checkDns(spec)
  for (const device of spec.devices ?? []) checkDevice(device)
  for (const mount of spec.mounts ?? []) checkMount(mount)
  checkNumber('--shm-size', spec.shmSizeBytes, 0, Number.MAX_SAFE_INTEGER)
  checkNumber('--oom-score-adj', spec.oomScoreAdj, -1000, 1000)
}

const namespaceModes = [
  ['--pid', 'pidMode', ['host']],
  ['--ipc', 'ipcMode', ['host', 'shareable', 'private', 'none']],
  ['--uts', 'utsMode', ['host']],
  ['--cgroupns', 'cgroupnsMode', ['private', 'host']],
] as const

/** An empty one is the default, as with docker. */
function checkNamespaceModes(spec: ContainerSpec): void {
  for (const [flag, field, modes] of namespaceModes) {
    const mode = spec[field] ?? ''
    const joins = field !== 'cgroupnsMode'
    if (mode === '' || modes.some(known => known === mode) || (joins && /^container:./.test(mode))) continue
    throw new TsrunError('invalid', 'namespace-mode', `invalid value "${printable(mode)}" for ${flag}`, {
      hint: [...modes, ...(joins ? ['container:NAME'] : [])].join(', '),
    })
  }
}

/** What shares a network, or has none, has no address and no interface of its own. */
function checkAddresses(attachment: NetworkAttachment): void {
  if (!standsAlone(attachment.network)) return
  const [address] = staticIps(attachment)
  const [option] = Object.keys(attachment.driverOptions ?? {})
  const mode = printable(attachment.network)
  if (option !== undefined)
    throw new TsrunError(
      'invalid',
      'unknown-option',
      `cannot use driver-opt ${JSON.stringify(option)}: --network ${mode} gives no interface of the container's own`,
      { hint: 'leave it out, or choose a network of `tsrun network ls`' },
    )
  if (address === undefined) return
  throw new TsrunError('invalid', 'no-address', `cannot use address ${address}: --network ${mode} gives none`, {
    hint: `leave it out, or choose a network of \`tsrun network ls\``,
  })
}

/** They become words of a resolv.conf. */
function checkDns({ dns = [], dnsSearch = [], dnsOptions = [] }: ContainerSpec): void {
  const refuse = (flag: string, text: string, why: string) => {
    throw new TsrunError('invalid', 'dns', `invalid value "${printable(text)}" for ${flag}: ${why}`)
  }
  for (const server of dns) if (tryParseAddress(server) === undefined) refuse('--dns', server, 'it is no IP address')
  for (const domain of dnsSearch) if (!/^[^\s\p{Cc}]*$/u.test(domain)) refuse('--dns-search', domain, 'it is no domain')
  for (const option of dnsOptions)
    if (!/^[^\s\p{Cc}]+$/u.test(option)) refuse('--dns-option', option, 'it is no option')
}

function checkDevice({ hostPath, path, access }: NonNullable<ContainerSpec['devices']>[number]): void {
  if (isAbsolute(hostPath) && isAbsolute(path) && /^[rwm]{1,3}$/.test(access)) return
  throw new TsrunError('invalid', 'device', `invalid device "${printable(`${hostPath}:${path}:${access}`)}"`, {
    hint: '/dev/HOST[:/dev/INSIDE[:rwm]], e.g. /dev/snd or /dev/ttyUSB0:/dev/modem:rw',
  })
}

const mountTypes = ['bind', 'volume', 'tmpfs']
const propagations = ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']

function checkMount({ type, source, target, propagation }: MountSpec): void {
  const refuse = (reason: string) => {
    throw new TsrunError('invalid', 'mount', `cannot mount on "${printable(target)}": ${reason}`)
  }
  if (!mountTypes.includes(type)) refuse(`there is no type "${printable(type)}": ${mountTypes.join(', ')}`)
  if (!isAbsolute(target)) refuse('it is not an absolute path in the container')
  if (target.split('/').every(part => part === '' || part === '.')) refuse('it is the root of the container')
  if (type === 'bind' && !isAbsolute(source)) refuse(`the source "${printable(source)}" is not an absolute path`)
  if (propagation !== undefined && !propagations.includes(propagation))
    refuse(`there is no propagation "${printable(propagation)}": ${propagations.join(', ')}`)
}

function isAbsolute(path: string): boolean {
  return path.startsWith('/') && !path.includes('\0')
}

function checkNumber(option: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= min && value <= max)) return
  throw new TsrunError(
    'invalid',
    'number',
    `invalid value "${value}" for ${option}: a whole number from ${min} to ${max}`,
  )
}
