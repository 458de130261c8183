// The processes of a container, as `ps -ef` would show them on the host.

import { readFileSync } from 'node:fs'
import { listPids } from '../../kernel/cgroup/cgroup.ts'
import { type ProcessFacts, readProcess } from '../../kernel/process-list.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EngineContext } from '../context.ts'
import { emitContainer } from './container-events.ts'
import { runningOrThrow } from './running-or-throw.ts'

/** docker's words. */
export interface ProcessTable {
  readonly titles: readonly string[]
  readonly processes: readonly (readonly string[])[]
}

/** @throws TsrunError conflict when it is not running */
export async function listProcesses(
  context: EngineContext,
  container: Container,
  psArguments: readonly string[],
): Promise<ProcessTable> {
  const run = runningOrThrow(context, container, 'list processes of')
  emitContainer(context, container, 'top')
  const pids = listPids(run.cgroup)
  if (psArguments.length > 0) return askPs(pids, psArguments)
  const users = hostUsers()
  return {
    titles: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'],
    processes: pids.flatMap(pid => {
      const facts = readProcess(pid)
      return facts === undefined ? [] : [toRow(facts, users)]
    }),
  }
}

function toRow(facts: ProcessFacts, users: ReadonlyMap<number, string>): string[] {
  const livedSeconds = Math.max(1, Date.now() / 1000 - facts.startedAt)
  return [
    users.get(facts.uid) ?? String(facts.uid),
    String(facts.pid),
    String(facts.parentPid),
    String(Math.min(99, Math.floor((facts.cpuSeconds * 100) / livedSeconds))),
    startTime(facts.startedAt),
    facts.tty,
    cpuTime(facts.cpuSeconds),
    facts.command,
  ]
}

/** `14:05` on the day itself, else `Nov20`. */
function startTime(seconds: number): string {
  const start = new Date(seconds * 1000)
  const two = (value: number) => String(value).padStart(2, '0')
  if (Date.now() - start.getTime() < 86_400_000) return `${two(start.getHours())}:${two(start.getMinutes())}`
  return `${start.toLocaleString('en-US', { month: 'short' })}${two(start.getDate())}`
}

function cpuTime(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60]
  return parts.map(part => String(part).padStart(2, '0')).join(':')
}

/** As docker, names are those of the host. */
function hostUsers(): Map<number, string> {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n')
  return new Map(
    lines.flatMap(line => {
      const [name = '', , uid] = line.split(':')
      return uid === undefined || uid === '' ? [] : [[Number(uid), name] as const]
    }),
  )
}

/** Options of the host's ps: its output, less what is not in the container. */
async function askPs(pids: readonly number[], psArguments: readonly string[]): Promise<ProcessTable> {
  const { execFile } = await import('node:child_process')
  const output = await new Promise<string>((resolve, reject) => {
    execFile('ps', [...psArguments], { encoding: 'utf8', maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else
        reject(
          new TsrunError('invalid', 'ps', `cannot run ps ${psArguments.join(' ')}: ${stderr.trim() || error.message}`, {
            hint: 'without arguments tsrun needs no ps and shows what `ps -ef` does',
          }),
        )
    })
  })
  return filterPs(output, pids)
}

/** @throws TsrunError invalid when the output has no column PID */
export function filterPs(output: string, pids: readonly number[]): ProcessTable {
  const [head = '', ...lines] = output.split('\n').filter(line => line.trim() !== '')
  const titles = head.trim().split(/\s+/)
  const pidColumn = titles.indexOf('PID')
  if (pidColumn < 0)
    throw new TsrunError('invalid', 'ps-columns', 'cannot tell whose processes these are: ps shows no column PID', {
      hint: 'add it, e.g. -o pid,comm',
    })
  const wanted = new Set(pids.map(String))
  const rows = lines.map(line => splitColumns(line, titles.length))
  return { titles, processes: rows.filter(row => wanted.has(row[pidColumn] ?? '')) }
}

/** The last column keeps its spaces. */
function splitColumns(line: string, count: number): string[] {
  const words = line.trim().split(/\s+/)
  if (words.length <= count) return words
  return [...words.slice(0, count - 1), words.slice(count - 1).join(' ')]
}
