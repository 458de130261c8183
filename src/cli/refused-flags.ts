// docker's flags that tsrun knows and does not have: whoever types one is told why, and what to do instead.

import { type Command, Option } from 'commander'
import { TsrunError } from '../model/errors.ts'
import { LeanCommand } from './lean-command.ts'

interface Refusal {
  readonly why: string
  readonly hint: string
  /** The one value that changes nothing, and is let through. */
  readonly harmless?: string
}

const ofContainers: Readonly<Record<string, Refusal>> = {
  '--gpus <request>': {
    why: "it needs a vendor's hook, which only that vendor's toolkit has",
    hint: 'pass the device nodes: --device /dev/dri, or --device /dev/nvidia0 --device /dev/nvidiactl with -v for the libraries',
  },
  '--link <container>': {
    why: 'links are legacy, also in docker',
    hint: 'put both containers on one network: tsrun network create NAME, then --network NAME',
  },
  '--isolation <technology>': { why: 'it is for Windows', hint: 'leave it out', harmless: 'default' },
  '--runtime <runtime>': { why: 'there is one runtime, tsrun-init', hint: 'leave it out' },
  '--storage-opt <option>': {
    why: 'the root file system is an overlay on the file system of --root, without a size of its own',
    hint: 'limit what is written with --read-only and --tmpfs PATH:size=64m',
  },
  '--volume-driver <driver>': {
    why: 'volumes are folders on this machine',
    hint: 'mount it on the host and bind it: -v /mnt/data:/data',
    harmless: 'local',
  },
  '--use-api-socket': { why: 'there is no daemon and no API socket', hint: 'leave it out' },
  '--cpu-rt-period <us>': { why: 'cgroup v2 has no real-time budget', hint: '--cpus, or --ulimit rtprio=..' },
  '--cpu-rt-runtime <us>': { why: 'cgroup v2 has no real-time budget', hint: '--cpus, or --ulimit rtprio=..' },
  '--memory-swappiness <number>': { why: 'cgroup v2 has none', hint: '--memory-swap limits swap' },
  '--kernel-memory <bytes>': { why: 'the kernel has it no more', hint: '--memory counts kernel memory as well' },
}

const ofRm: Readonly<Record<string, Refusal>> = {
  '-l, --link': { why: 'there are no links', hint: 'leave it out to remove the container' },
}

const ofStart: Readonly<Record<string, Refusal>> = {
  '--checkpoint <name>': { why: 'there is no checkpoint and restore', hint: 'leave it out to start it anew' },
  '--checkpoint-dir <dir>': { why: 'there is no checkpoint and restore', hint: 'leave it out to start it anew' },
}

const ofBuild: Readonly<Record<string, Refusal>> = {
  '--ssh <spec>': {
    why: 'tsrun does not forward agents',
    hint: 'give the key as a secret: --secret id=key,src=$HOME/.ssh/id_ed25519 and RUN --mount=type=secret,id=key',
  },
  '--allow <entitlement>': {
    why: 'steps are never privileged, and RUN --network=host needs no leave',
    hint: 'leave it out',
  },
  '--attest <spec>': { why: 'tsrun makes no attestations', hint: 'leave it out' },
  '--builder <name>': { why: 'there is one builder, tsrun', hint: 'leave it out' },
  '--squash': { why: 'layers are kept as they are', hint: 'copy what counts into a last stage: COPY --from=NAME / /' },
}

/** Flags of build. */
export const refuseBuildFlags = (command: Command) => refuse(command, ofBuild)
/** Flags of run and create. */
export const refuseContainerFlags = (command: Command) => refuse(command, ofContainers)
/** Flags of rm. */
export const refuseRmFlags = (command: Command) => refuse(command, ofRm)
/** Flags of start. */
export const refuseStartFlags = (command: Command) => refuse(command, ofStart)

function refuse(command: Command, refusals: Readonly<Record<string, Refusal>>): Command {
  for (const [flags, { why, hint, harmless }] of Object.entries(refusals)) {
    if (command instanceof LeanCommand && !command.mentions(flags)) continue
    const option = new Option(flags).hideHelp()
    const name = option.long ?? flags
    const complain = (value?: string) => {
      if (harmless !== undefined && value === harmless) return
      throw new TsrunError('unsupported', 'flag', `cannot use ${name}: ${why}`, { hint })
    }
    if (option.required) option.argParser(complain)
    else command.on(`option:${option.name()}`, complain)
    // Another area may have it by now.
    if (!command.options.some(each => each.long === option.long)) command.addOption(option)
  }
  return command
}
