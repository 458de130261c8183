// Before the end-to-end tests: takes away worlds whose test process died without doing so.

import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execute } from './command.ts'

export async function setup(): Promise<void> {
  const abandoned = readdirSync(tmpdir())
    .filter(name => name.startsWith('tsrun-world-'))
    .map(name => join(tmpdir(), name))
    .filter(dir => !isAlive(ownerOf(dir)))
  for (const dir of abandoned) await reap(dir)
}

async function reap(dir: string): Promise<void> {
  for (const pid of processesOf(dir)) kill(pid)
  const targets = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[4] ?? '')
    .filter(target => target.startsWith(`${dir}/`))
  for (const target of targets.reverse()) await execute(['umount', '-l', target])
  rmSync(dir, { recursive: true, force: true })
}

/** Processes that name the world in their environment or command line. */
function processesOf(dir: string): number[] {
  const id = dir.slice(dir.lastIndexOf('/') + 1)
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter(name => ['environ', 'cmdline'].some(file => read(`/proc/${name}/${file}`).includes(id)))
    .map(Number)
}

function ownerOf(dir: string): number {
  return Number(read(join(dir, 'owner'))) || 0
}

function isAlive(pid: number): boolean {
  return pid > 0 && read(`/proc/${pid}/stat`) !== ''
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
