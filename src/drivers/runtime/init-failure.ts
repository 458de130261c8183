// Turns what tsrun-init says about a failure into an error for the user.

import { errnoName } from '../../ffi/errno.ts'
import type { InitMessage } from '../../kernel/init-protocol.ts'
import { TsrunError } from '../../model/errors.ts'

type Failed = Extract<InitMessage, { kind: 'failed' }>

/** @param subject `"web"`: how to call the container */
export function describeFailure(subject: string, failed: Failed): TsrunError {
  const code = errnoName(failed.errno)
  if (failed.phase === 'exec') return describeExecFailure(subject, failed.what, code)
  if (failed.stage === 'reserve-port') {
    return new TsrunError(
      'conflict',
      'port-taken',
      `cannot publish ${failed.what} for ${subject}: ${portReason(code)}`,
      {
        hint: 'choose another host port, e.g. -p 8080:80, or stop the process that holds it',
      },
    )
  }
  const hints: Readonly<Record<string, string>> = {
    EPERM: 'tsrun needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN; `tsrun doctor` lists what is missing',
    ENOSYS: 'the kernel lacks this call; `tsrun doctor` lists what is missing',
    ENOSPC: 'a limit of the kernel or of the disk is reached; see `df` and /proc/sys/user/',
    ENOMEM: 'the memory limit may be too small to start anything; try a larger --memory',
  }
  const hint = hints[code]
  return new TsrunError(
    'system',
    'setup-failed',
    `cannot start ${subject}: ${failed.what} (${failed.stage}: ${code})`,
    hint === undefined ? {} : { hint },
  )
}

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

function portReason(code: string): string {
  if (code === 'EADDRINUSE') return 'the port is in use on the host'
  if (code === 'EADDRNOTAVAIL') return 'the host has no such address'
  return `the kernel refused it (bind: ${code})`
}
