// The flags of `run` and `create` about a container's life and surroundings: restarts, health, devices, notes.

import type { Command } from 'commander'
import { parseDuration } from '../lib/duration.ts'
import type { ContainerSpec, RestartPolicy } from '../model/container.ts'
import { TsrunError } from '../model/errors.ts'
import { parseIdMapping } from '../model/id-maps.ts'
import type { Healthcheck } from '../model/image.ts'
import { parseDeviceRule, parseWholeNumber } from '../model/parse-resources.ts'
import { collect } from './collect.ts'
import { readLines } from './read-lines.ts'

type Flags = Readonly<Record<string, unknown>>

/** Declares the flags on `command`. */
export function addFurtherFlags(command: Command): Command {
  return command
    .option('--restart <policy>', 'when it is started again: no, on-failure[:N], always, unless-stopped')
    .option('--health-cmd <command>', 'shell command that says whether it is healthy')
    .option('--health-interval <duration>', 'time between two probes; default 30s')
    .option('--health-timeout <duration>', 'longest time for a probe; default 30s')
    .option('--health-retries <number>', 'failures in a row that make it unhealthy; default 3')
    .option('--health-start-period <duration>', 'time in which failures do not count')
    .option('--health-start-interval <duration>', 'time between two probes in that time; default 5s')
    .option('--no-healthcheck', "do without the image's healthcheck")
    .option('--device <spec>', 'give it a device of the host: /dev/HOST[:/dev/INSIDE[:rwm]]', collect)
    .option('--device-cgroup-rule <rule>', 'allow devices by number: "c 42:* rwm"', collect)
    .option('--volumes-from <container>', 'mount what another container mounts: NAME[:ro]', collect)
    .option('--userns <mode>', 'whose users it has: host, remap, auto[:size=N] or container:NAME')
    .option('--uidmap <map>', 'map user ids: CONTAINER:HOST:SIZE', collect)
    .option('--gidmap <map>', 'map group ids: CONTAINER:HOST:SIZE', collect)
    .option('--cgroup-parent <path>', 'cgroup to put its cgroup into')
    .option('--label-file <file>', 'read labels from a file', collect)
    .option('--annotation <key=value>', 'a note for other programs', collect)
    .option('--platform <os/arch>', 'platform of the image')
    .option('--pull <policy>', 'when the registry is asked for the image: always, missing (default) or never')
    .option('-q, --quiet', 'do not show how an image is pulled')
}

/** What those flags say. @throws TsrunError invalid, naming the flag and the value */
export function toFurtherSpec(flags: Flags): Partial<ContainerSpec> {
  const text = (name: string) => flags[name] as string | undefined
  const list = (name: string) => (flags[name] as string[] | undefined) ?? []
  const restart = text('restart')
  const healthcheck = parseHealth(flags)
  const cgroupParent = text('cgroupParent')
  if (restart !== undefined && restart !== 'no' && flags.rm === true)
    throw new TsrunError('invalid', 'restart-and-remove', 'cannot use --restart together with --rm', {
      hint: 'a container that is removed at its end cannot be restarted',
    })
  checkPlatform(text('platform'))
  return {
    ...(restart === undefined ? {} : { restart: parseRestart(restart) }),
    ...(healthcheck === undefined ? {} : { healthcheck }),
    ...(list('device').length === 0 ? {} : { devices: list('device').map(parseDevice) }),
    ...(list('deviceCgroupRule').length === 0
      ? {}
      : { deviceRules: list('deviceCgroupRule').map(rule => parseDeviceRule('--device-cgroup-rule', rule)) }),
    ...(list('volumesFrom').length === 0 ? {} : { volumesFrom: list('volumesFrom') }),
    ...(text('userns') === undefined ? {} : { userns: text('userns') ?? '' }),
    ...(list('uidmap').length === 0 ? {} : { uidMappings: list('uidmap').map(map => parseIdMapping('--uidmap', map)) }),
    ...(list('gidmap').length === 0 ? {} : { gidMappings: list('gidmap').map(map => parseIdMapping('--gidmap', map)) }),
    ...(cgroupParent === undefined ? {} : { cgroupParent }),
    ...(list('annotation').length === 0 ? {} : { annotations: parseNotes(list('annotation')) }),
  }
}

/** The lines of label files, in the form of `--label`. */
export function readLabelFiles(flags: Flags): string[] {
  return ((flags.labelFile as string[] | undefined) ?? []).flatMap(file => readLines('--label-file', file))
}

/** `no`, `always`, `unless-stopped`, `on-failure[:n]`. @throws TsrunError invalid */
export function parseRestart(text: string): RestartPolicy {
  const match = /^(no|always|unless-stopped|on-failure)(?::(\d{1,9}))?$/.exec(text)
  const name = match?.[1] as RestartPolicy['name'] | undefined
  if (name === undefined || (match?.[2] !== undefined && name !== 'on-failure'))
    throw new TsrunError('invalid', 'restart', `invalid value "${text}" for --restart`, {
      hint: 'no, always, unless-stopped, on-failure or on-failure:N',
    })
  return { name, maximumRetryCount: Number(match?.[2] ?? 0) }
}

/** `/dev/a`, `/dev/a:rw`, `/dev/a:/dev/b`, `/dev/a:/dev/b:rwm`. @throws TsrunError invalid */
function parseDevice(text: string): NonNullable<ContainerSpec['devices']>[number] {
  const [hostPath = '', second, third, ...more] = text.split(':')
  const onlyAccess = second !== undefined && third === undefined && /^[rwm]+$/.test(second)
  const path = second === undefined || onlyAccess ? hostPath : second
  const access = (onlyAccess ? second : third) ?? 'rwm'
  if (hostPath.startsWith('/') && path.startsWith('/') && /^[rwm]{1,3}$/.test(access) && more.length === 0)
    return { hostPath, path, access }
  throw new TsrunError('invalid', 'device', `invalid value "${text}" for --device`, {
    hint: '/dev/HOST[:/dev/INSIDE[:rwm]], e.g. /dev/snd or /dev/ttyUSB0:/dev/modem:rw',
  })
}

function parseHealth(flags: Flags): Healthcheck | undefined {
  const text = (name: string) => flags[name] as string | undefined
  const command = text('healthCmd')
  const timings = {
    ...nanoseconds('Interval', '--health-interval', text('healthInterval'), 1),
    ...nanoseconds('Timeout', '--health-timeout', text('healthTimeout'), 1),
    ...nanoseconds('StartPeriod', '--health-start-period', text('healthStartPeriod'), 0),
    ...nanoseconds('StartInterval', '--health-start-interval', text('healthStartInterval'), 1),
    ...(text('healthRetries') === undefined
      ? {}
      : { Retries: parseWholeNumber('--health-retries', text('healthRetries') ?? '', { min: 0, max: 1e6 }) }),
  }
  if (flags.healthcheck === false) {
    if (command !== undefined || Object.keys(timings).length > 0)
      throw new TsrunError('invalid', 'health', 'cannot use --no-healthcheck together with --health-* flags')
    return { Test: ['NONE'] }
  }
  if (command === undefined && Object.keys(timings).length === 0) return undefined
  return { ...(command === undefined ? {} : { Test: ['CMD-SHELL', command] }), ...timings }
}

type HealthTiming = 'Interval' | 'Timeout' | 'StartPeriod' | 'StartInterval'

function nanoseconds(
  field: HealthTiming,
  flag: string,
  text: string | undefined,
  minimumMs: number,
): Partial<Record<HealthTiming, number>> {
  if (text === undefined) return {}
  const ms = text === '0' ? 0 : parseDuration(text)
  const value = Math.round((ms ?? Number.NaN) * 1e6)
  if (Number.isSafeInteger(value) && (value === 0 || value >= minimumMs * 1e6)) return { [field]: value }
  throw new TsrunError('invalid', 'health', `invalid value "${text}" for ${flag}`, {
    hint: 'a duration from 1ms to 100 days, e.g. 500ms, 30s or 1m30s; 0 is the default',
  })
}

function parseNotes(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map(pair => {
      const at = pair.indexOf('=')
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)]
      throw new TsrunError('invalid', 'annotation', `invalid value "${pair}" for --annotation`, { hint: 'KEY=value' })
    }),
  )
}

/** Only images of this machine's own kind can be run. */
function checkPlatform(text: string | undefined): void {
  if (text === undefined) return
  const [os = '', architecture = ''] = text.split('/')
  const own = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch
  if (os === 'linux' && (architecture === '' || architecture === own)) return
  throw new TsrunError('unsupported', 'platform', `cannot run containers of platform "${text}" here`, {
    hint: `this machine is linux/${own}`,
  })
}
