// Turns what tsrun-init says about a failure into an error for the user.

import { readFileSync } from 'node:fs'
import { errnoName } from '../../ffi/errno.ts'
import type { InitMessage } from '../../kernel/init-protocol.ts'
import { findSocketOwner } from '../../kernel/socket-owner.ts'
import { TsrunError } from '../../model/errors.ts'

type Failed = Extract<InitMessage, { kind: 'failed' }>

/** Finds a container's name by the start of its id. */
export type NameOf = (shortId: string) => string | undefined

/** @param subject `"web"`: how to call the container */
export function describeFailure(subject: string, failed: Failed, nameOf: NameOf): TsrunError {
  const code = errnoName(failed.errno)
  if (failed.phase === 'exec') return describeExecFailure(subject, failed.what.replace(/^exec /, ''), code)
  if (failed.stage === 'reserve-port') return describePortFailure(subject, failed.what, code, nameOf)
  const hints: Readonly<Record<string, string>> = {
    EPERM: 'tsrun needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN; `tsrun doctor` lists what is missing',
    ENOSYS: 'the kernel lacks this call; `tsrun doctor` lists what is missing',
    ENOSPC: 'a limit of the kernel or of the disk is reached; see `df` and /proc/sys/user/',
    ENOMEM: 'the memory limit may be too small to start anything; try a larger --memory',
  }
  const isOverlay = failed.stage === 'rootfs' && failed.what.includes('overlay')
  const hint = isOverlay && code === 'EINVAL' ? overlayHint : hints[code]
  return new TsrunError(
    'system',
    'setup-failed',
    `cannot start ${subject}: ${failed.what} (${failed.stage}: ${code})`,
    hint === undefined ? {} : { hint },
  )
}

const overlayHint =
  'overlayfs cannot write to every file system: choose a folder on ext4, xfs, btrfs or tmpfs with --root; `tsrun doctor` tries it'

function describeExecFailure(subject: string, what: string, code: string): TsrunError {
  if (code === 'ENOENT')
    return new TsrunError(
      'command-not-found',
      'command-not-found',
      `cannot start ${subject}: "${what}" was not found in the container (exec: ${code})`,
      {
        hint: 'check the spelling and that the image holds the program (and, for a script, its interpreter); try `sh`',
      },
    )
  const reasons: Readonly<Record<string, string>> = {
    EACCES: 'is not executable',
    ENOEXEC: 'is not a program: wrong format or architecture, or a script without #!',
    EISDIR: 'is a directory',
  }
  return new TsrunError(
    'not-executable',
    'not-executable',
    `cannot start ${subject}: "${what}" ${reasons[code] ?? 'cannot be executed'} (exec: ${code})`,
    { hint: 'see `ls -l` for its mode and `file` for its format' },
  )
}

/** @param what `tcp 0.0.0.0:80` @param code name of the errno */
export function describePortFailure(subject: string, what: string, code: string, nameOf: NameOf): TsrunError {
  const [, protocol = '', address = '', port = ''] = /^(\w+) \[?([^\]]*)\]?:(\d+)$/.exec(what) ?? []
  const place = `${address.includes(':') ? `[${address}]` : address}:${port}/${protocol}`
  const cannot = `cannot publish ${place} for ${subject}`
  if (code === 'EADDRNOTAVAIL')
    return new TsrunError(
      'invalid',
      'no-such-address',
      `${cannot}: the host has no address ${address} (bind: ${code})`,
      {
        hint: '`ip address` lists the addresses; without one the port is published on all',
      },
    )
  if (code === 'EMFILE')
    return new TsrunError(
      'unavailable',
      'too-many-ports',
      `${cannot}: more ports than open files are allowed (${code})`,
      {
        hint: 'each is held by a socket, or by two: raise `ulimit -n` where tsrun runs, or use --network host',
      },
    )
  if (code !== 'EADDRINUSE')
    return new TsrunError('system', 'port-refused', `${cannot}: the kernel refused the port (bind: ${code})`)
  const owner =
    protocol === 'sctp' ? undefined : findSocketOwner(protocol === 'udp' ? 'udp' : 'tcp', address, Number(port))
  const container = owner === undefined ? undefined : monitoredBy(owner.pid, nameOf)
  if (container !== undefined)
    return new TsrunError('conflict', 'port-taken', `${cannot}: the port is published by container "${container}"`, {
      hint: `choose another host port, or stop "${container}": tsrun stop ${container}`,
    })
  const by = owner === undefined ? 'on the host' : `by ${owner.command} (pid ${owner.pid})`
  return new TsrunError('conflict', 'port-taken', `${cannot}: the port is in use ${by}`, {
    hint: `choose another host port, e.g. -p ${Number(port) + 8000 > 65535 ? 8080 : Number(port) + 8000}:..., or stop that process`,
  })
}

/** The container whose monitor the process is: a port without rules is held by the monitor alone. */
function monitoredBy(pid: number, nameOf: NameOf): string | undefined {
  try {
    const shortId = /^tsrun-monitor ([0-9a-f]{12})/.exec(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))?.[1]
    return shortId === undefined ? undefined : nameOf(shortId)
  } catch {
    return undefined
  }
}
