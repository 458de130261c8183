// A further process in a running container: same namespaces, cgroup and restrictions, streams of its own.

import { closeSync, mkdirSync, readdirSync, rmSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { InitProcess } from '../../drivers/runtime/init-process.ts'
import { toInitProcess } from '../../drivers/runtime/oci-to-init.ts'
import { hasCode } from '../../ffi/errno.ts'
import { openCgroup } from '../../kernel/cgroup/cgroup.ts'
import { isExplaining, record } from '../../kernel/explain.ts'
import type { InitConfig } from '../../kernel/init-protocol.ts'
import { openPidfd } from '../../kernel/pidfd.ts'
import { faultPoint } from '../../lib/fault.ts'
import { readJson } from '../../lib/state-file.ts'
import type { Container, ExitRecord, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { OciSpec } from '../../model/oci-spec.ts'
import type { EngineContext } from '../context.ts'
import { usesResolver } from '../dns/uses-resolver.ts'
import { newId } from '../ids.ts'
import type { Attachment, AttachOptions } from './attachment.ts'
import { emitContainer } from './container-events.ts'
import { isAlive } from './container-store.ts'
import type { ContainerClient } from './output-relay.ts'
import { execIdentity } from './prepare-process.ts'
import { runningOrThrow } from './running-or-throw.ts'

/** A monitor tells the end of its process within milliseconds. */
const UNTOLD_MS = 60_000

/** A further process. Absent fields are the container's. */
export interface ExecSpec {
  readonly command: readonly string[]
  readonly tty?: boolean
  readonly openStdin?: boolean
  readonly env?: readonly string[]
  readonly workingDir?: string
  readonly user?: string
  readonly privileged?: boolean
  readonly consoleSize?: { readonly rows: number; readonly columns: number }
}

/** @returns the streams of the process; it goes on when they are closed @throws TsrunError */
export async function execInContainer(
  context: EngineContext,
  container: Container,
  spec: ExecSpec,
  options: AttachOptions = {},
): Promise<Attachment> {
  const { Attachment } = await import('./attachment.ts')
  const connect = (path: string, execID: string) => {
    const onDetach = () => emitContainer(context, container, 'exec_detach', { execID })
    return Attachment.open(path, { onDetach, ...options, owner: true })
  }
  return (await startExec(context, container, spec, connect)).client
}

/**
 * As execInContainer(), with a client of any kind.
 * @param connect makes the client, given the socket of the process's monitor and the id of the process, before the command runs
 * @returns the client, and the process's pid as the host sees it
 */
export async function startExec<C extends ContainerClient>(
  context: EngineContext,
  container: Container,
  spec: ExecSpec,
  connect: (socketPath: string, execId: string) => C | Promise<C>,
): Promise<{ readonly client: C; readonly pid: number }> {
  const run = runningOrThrow(context, container, 'exec in')
  if (context.store.isPaused(container.id))
    throw new TsrunError('conflict', 'paused', `cannot exec in "${container.name}": it is paused`, {
      hint: `\`tsrun unpause ${container.name}\` first`,
    })
  const oci = readJson<OciSpec>(context.paths.runFile(container.id, 'config.json'))
  if (oci === undefined)
    throw new TsrunError(
      'unavailable',
      'configuration-lost',
      `cannot exec in "${container.name}": what it was started with is gone from "${context.paths.run(container.id)}"`,
      { hint: `\`tsrun restart ${container.name}\` writes it again` },
    )
  await mendNamesOf(context, container, run)
  const execId = newId()
  const socketPath = context.paths.runFile(container.id, `exec-${execId.slice(0, 12)}.sock`)
  let pidfd: number | undefined
  try {
    pidfd = openPidfd(run.pid)
    if (!isAlive(run)) throw hasJustEnded(container)
    const config = buildConfig(context, container, { spec, oci, cgroup: run.cgroup, pid: run.pid, socketPath, execId })
    if (isExplaining()) {
      const { explainExec } = await import('../../drivers/runtime/explain-init.ts')
      record(() => explainExec(run.pid, spec.command))
    }
    const init = new InitProcess(config, {
      initPath: context.initPath,
      namespaceFd: pidfd,
      subject: `"${spec.command[0] ?? ''}" in "${container.name}"`,
    })
    try {
      faultPoint('exec init')
      const execPid = init.waitReady()
      faultPoint('exec ready')
      const client = await connect(socketPath, execId)
      faultPoint('exec client')
      emitContainer(context, container, `exec_create: ${spec.command.join(' ')}`, { execID: execId })
      init.go()
      faultPoint('exec go')
      emitContainer(context, container, `exec_start: ${spec.command.join(' ')}`, { execID: execId })
      // While this process watches; the end of one that nobody watches is told by its monitor's call. Without a code the
      // monitor was killed, perhaps behind its record, or we have left.
      void client.exit.then(
        code => {
          tellExecEnd(context, container, execId)
          if (code !== undefined) client.release()
        },
        () => {}, // Whoever awaits the client hears of it.
      )
      return { client, pid: execPid }
    } finally {
      init.close()
    }
  } catch (error) {
    rmSync(socketPath, { force: true })
    // Whatever that was in the way of, this is why.
    throw isAlive(run) ? error : hasJustEnded(container, error)
  } finally {
    if (pidfd !== undefined) closeSync(pidfd)
  }
}

function hasJustEnded({ name }: Container, cause?: unknown): TsrunError {
  return new TsrunError('conflict', 'not-running', `cannot exec in "${name}": it has just ended`, { cause })
}

/** Names that are gone since somebody flushed the rules in the container are back for who looks into it. */
async function mendNamesOf(context: EngineContext, container: Container, run: RunRecord): Promise<void> {
  if (!usesResolver(context, container.id)) return
  const { mendNames } = await import('../dns/serve-names.ts')
  await mendNames(context, container, run)
}

const joined = ['pid', 'mnt', 'uts', 'ipc', 'net', 'cgroup'] as const

/**
 * Tells the end of a further process, once: whoever takes its record away.
 * @param container undefined when it has been removed meanwhile: then there is nobody to tell it of
 */
export function tellExecEnd(context: EngineContext, container: Container | undefined, execId: string): void {
  const file = exitFileOf(context, execId)
  const exit = readJson<ExitRecord>(file)
  if (exit === undefined) return
  try {
    unlinkSync(file)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    throw error
  }
  if (container === undefined) return
  emitContainer(context, container, 'exec_die', { execID: execId, exitCode: String(exit.exitCode) })
}

/** The records of processes whose monitor and client were both killed: nobody tells their end any more. */
function forgetUntold(folder: string): void {
  for (const name of readdirSync(folder)) {
    const stat = statSync(join(folder, name), { throwIfNoEntry: false })
    if (stat !== undefined && Date.now() - stat.mtimeMs > UNTOLD_MS) rmSync(join(folder, name), { force: true })
  }
}

function exitFileOf(context: EngineContext, execId: string): string {
  return join(context.paths.execs, `${execId}.json`)
}

interface ExecInput {
  readonly spec: ExecSpec
  readonly oci: OciSpec
  readonly cgroup: string
  readonly pid: number
  readonly socketPath: string
  readonly execId: string
}

function buildConfig(context: EngineContext, container: Container, input: ExecInput): InitConfig {
  const { spec, oci } = input
  const { idMaps } = container
  const identity = execIdentity(context, container, {
    ...(spec.user === undefined ? {} : { user: spec.user }),
    pid: input.pid,
    privileged: spec.privileged === true,
  })
  const overridden = new Set((spec.env ?? []).map(entry => entry.split('=', 1)[0]))
  const env = oci.process.env.filter(entry => {
    const key = entry.split('=', 1)[0] ?? ''
    return (
      !overridden.has(key) && !(spec.user !== undefined && key === 'HOME') && !(key === 'TERM' && spec.tty !== true)
    )
  })
  const process: OciSpec['process'] = {
    ...oci.process,
    terminal: spec.tty === true,
    user: identity.user,
    args: spec.command,
    env: [
      ...env,
      ...(spec.tty === true && !env.some(e => e.startsWith('TERM=')) && !overridden.has('TERM') ? ['TERM=xterm'] : []),
      ...(spec.env ?? []),
      ...(spec.user !== undefined && !overridden.has('HOME') ? [`HOME=${identity.user.home}`] : []),
    ],
    cwd: spec.workingDir ?? oci.process.cwd,
    capabilities: identity.capabilities,
  }
  const { consoleSize: _old, ...rest } = process
  const sized = spec.consoleSize
    ? { ...rest, consoleSize: { height: spec.consoleSize.rows, width: spec.consoleSize.columns } }
    : rest
  const cgroup = openCgroup(input.cgroup)
  mkdirSync(context.paths.execs, { recursive: true, mode: 0o700 })
  forgetUntold(context.paths.execs)
  return {
    mode: 'exec',
    id: container.id,
    process: toInitProcess(sized, {
      seccomp: identity.seccomp,
      stdin: spec.openStdin === true,
      stdinOnce: true,
      init: false,
    }),
    namespaces: {
      create: [],
      // Nobody may join the user namespace that he is in already.
      join: [...joined, ...(idMaps === undefined ? [] : (['user'] as const))].map(type => ({ type })),
    },
    netnsFd: false,
    cgroup: { ...(cgroup.v2Dir === undefined ? {} : { v2Dir: cgroup.v2Dir }), procsFiles: cgroup.procsFiles },
    uidMappings: idMaps?.uid ?? [],
    gidMappings: idMaps?.gid ?? [],
    sysctls: [],
    mounts: [],
    devices: [],
    symlinks: [],
    maskedPaths: [],
    readonlyPaths: [],
    monitor: {
      attachSocket: input.socketPath,
      exitFile: exitFileOf(context, input.execId),
      exitCommand: context.execExitCommand(container.id, input.execId),
      exitEnv: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      oomFiles: [],
      reservedPorts: [],
    },
  }
}
