// Containers on disk: one folder each, a link for each name, and what runs under the state directory.
// How a container is doing is derived here from files and the kernel, never stored.

import { existsSync, mkdirSync, readlinkSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { isRunning, processStartTime } from '../../kernel/pidfd.ts'
import { namesIfThere } from '../../lib/if-there.ts'
import { syncPath } from '../../lib/json-file.ts'
import { readJson, type Shape, StateFileError, unlessDamaged, writeJson } from '../../lib/state-file.ts'
import type { Container, ContainerState, ExitRecord, HealthState, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { printable, shortId } from '../ids.ts'
import type { Paths } from '../paths.ts'

const containerShape: Shape = {
  id: 'text',
  name: 'text',
  createdAt: 'text',
  image: 'object',
  process: 'object',
  spec: 'object',
  ports: 'list',
}
const runShape: Shape = { phase: 'text', pid: 'number', endpoints: 'list', cgroup: 'text' }
const healthShape: Shape = { status: 'text', failingStreak: 'number', log: 'list' }

export class ContainerStore {
  readonly #paths: Paths
  /** All ids as they were when somebody looked last. */
  #lastIds: readonly string[] = []

  constructor(paths: Paths) {
    this.#paths = paths
  }

  /** Takes `name` for `id`. @throws TsrunError conflict naming the holder */
  reserveName(name: string, id: string): void {
    mkdirSync(this.#paths.names, { recursive: true, mode: 0o700 })
    try {
      symlinkSync(id, `${this.#paths.names}/${name}`)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      const holder = this.#idOfName(name) ?? ''
      throw new TsrunError(
        'conflict',
        'name-taken',
        `cannot name a container "${name}": container ${shortId(holder)} has that name`,
        {
          hint: `remove it with \`tsrun rm ${name}\`, or choose another name`,
        },
      )
    }
  }

  /** Gives a name back, if `id` holds it. Idempotent. */
  releaseName(name: string, id: string): void {
    if (this.#idOfName(name) === id) rmSync(`${this.#paths.names}/${name}`, { force: true })
  }

  /** Gives back all that `id` holds besides `kept`. Idempotent. */
  releaseNames(id: string, kept?: string): void {
    for (const name of namesIfThere(this.#paths.names)) if (name !== kept) this.releaseName(name, id)
  }

  write(container: Container): void {
    writeJson(this.#paths.containerFile(container.id, 'container.json'), container)
  }

  /**
   * Makes the record survive a power cut: for what has been reported as done. A container that goes with its end need not, and
   * nothing of it is synced.
   */
  persist(id: string): void {
    const container = this.read(id)
    if (container === undefined || container.spec.autoRemove === true) return
    const { containers, names } = this.#paths
    const own = [this.#paths.containerFile(id, 'container.json'), this.#paths.container(id)]
    for (const path of [...own, containers, names]) {
      try {
        syncPath(path)
      } catch (error) {
        // Somebody has removed it meanwhile.
        if (!hasCode(error, 'ENOENT')) throw error
      }
    }
  }

  /** Changes the record as it stands now. @returns the new record, or undefined where there is none any more */
  change(id: string, change: (container: Container) => Container): Container | undefined {
    const container = this.read(id)
    if (container === undefined) return undefined
    const changed = change(container)
    this.write(changed)
    return changed
  }

  read(id: string): Container | undefined {
    return readJson<Container>(this.#paths.containerFile(id, 'container.json'), containerShape)
  }

  /** Whether there is a record, damaged or not. */
  has(id: string): boolean {
    return existsSync(this.#paths.containerFile(id, 'container.json'))
  }

  /** All containers, the newest first, without those whose record is damaged: see unlessDamaged(). */
  list(): Container[] {
    return newestFirst(this.ids().flatMap(id => unlessDamaged(() => this.read(id)) ?? []))
  }

  /** All containers: for whoever decides what nobody uses. @throws StateFileError when the record of one is damaged */
  all(): Container[] {
    return newestFirst(this.ids().flatMap(id => this.read(id) ?? []))
  }

  /** Forgets what of a container's files nobody can read. Idempotent. */
  dropDamaged(id: string): void {
    const readers = [() => this.read(id), () => this.readRun(id), () => this.readExit(id), () => this.readHealth(id)]
    for (const read of readers) {
      try {
        read()
      } catch (error) {
        if (!(error instanceof StateFileError)) throw error
        rmSync(error.path, { force: true, recursive: true })
      }
    }
  }

  ids(): string[] {
    return idsIn(this.#paths.containers)
  }

  /** Ids of the containers that have, or had when they were cut off, a process. */
  runningIds(): string[] {
    return idsIn(this.#paths.running)
  }

  /** Whether runningIds() has any; where the file system counts its folders, without reading them. */
  hasRunning(): boolean {
    const links = statSync(this.#paths.running, { throwIfNoEntry: false })?.nlink ?? 0
    // A folder is linked from its parent, itself, and each folder in it. Btrfs does not count, and says 1.
    return links > 2 || this.runningIds().length > 0
  }

  /**
   * The container that `reference` means: a name, an id, or the first digits of one.
   * @throws TsrunError not-found, or conflict when several begin so
   */
  find(reference: string): Container {
    const id = this.idOf(reference)
    const found = id === undefined ? undefined : this.read(id)
    if (found !== undefined) return found
    throw new TsrunError('not-found', 'no-such-container', `no such container: "${printable(reference)}"`, {
      hint: '`tsrun ps -a` lists all containers',
    })
  }

  /** The id that `reference` means, whatever there is of the container. @throws TsrunError conflict when several begin so */
  idOf(reference: string): string | undefined {
    const named = reference.includes('/') ? undefined : this.#idOfName(reference)
    // A whole id is looked up and not searched: `run` and monitors give those, among any number of containers.
    const exact = named ?? (/^[0-9a-f]{64}$/.test(reference) ? reference : undefined)
    if (exact !== undefined && (this.has(exact) || this.hasRun(exact))) return exact
    const matches = /^[0-9a-f]{1,64}$/.test(reference) ? this.#idsLike(reference) : []
    if (matches.length > 1)
      throw new TsrunError(
        'conflict',
        'ambiguous-id',
        `cannot tell which container "${reference}" is: ${matches.length} ids begin so`,
        {
          hint: `give more digits: ${matches.slice(0, 4).map(shortId).join(', ')}`,
        },
      )
    return matches[0]
  }

  /** The name of a container whose record nobody can read; empty where it has none. */
  nameOf(id: string): string {
    return namesIfThere(this.#paths.names).find(name => this.#idOfName(name) === id) ?? ''
  }

  /** Whether there is something of its last run: it runs, or its end has not been seen to. */
  hasRun(id: string): boolean {
    return existsSync(this.#paths.run(id))
  }

  readRun(id: string): RunRecord | undefined {
    return readJson<RunRecord>(this.#paths.runFile(id, 'run.json'), runShape)
  }

  /** Records of the containers that have, or had when they were cut off, a process; without damaged ones: see unlessDamaged(). */
  runs(): RunRecord[] {
    return this.runningIds().flatMap(id => unlessDamaged(() => this.readRun(id)) ?? [])
  }

  /** The same: for whoever decides what nobody uses. @throws StateFileError when one is damaged */
  allRuns(): RunRecord[] {
    return this.runningIds().flatMap(id => this.readRun(id) ?? [])
  }

  /** The record of a container whose first process lives, paused or not. */
  liveRun(id: string): RunRecord | undefined {
    const run = this.readRun(id)
    return run !== undefined && isAlive(run) ? run : undefined
  }

  writeRun(id: string, run: RunRecord): void {
    writeJson(this.#paths.runFile(id, 'run.json'), run)
  }

  readExit(id: string): ExitRecord | undefined {
    try {
      return readJson<ExitRecord>(this.#paths.containerFile(id, 'exit.json'), {
        exitCode: 'number',
        finishedAt: 'text',
      })
    } catch (error) {
      // It is not synced: with its content the exit is lost, and with it nothing that a start would need.
      if (error instanceof StateFileError && error.isEmpty) return undefined
      throw error
    }
  }

  writeExit(id: string, exit: ExitRecord): void {
    writeJson(this.#paths.containerFile(id, 'exit.json'), exit)
  }

  readHealth(id: string): HealthState | undefined {
    return readJson<HealthState>(this.#paths.runFile(id, 'health.json'), healthShape)
  }

  /**
   * How a container is doing.
   * @param record the container's own, where it is at hand: then nobody looks for the health of one that has no healthcheck
   */
  state(id: string, record?: Pick<Container, 'healthcheck'>): ContainerState {
    const run = this.readRun(id)
    if (run !== undefined && isAlive(run)) {
      const isProbed = record === undefined || record.healthcheck !== undefined
      const health = isProbed ? unlessDamaged(() => this.readHealth(id)) : undefined
      return { status: this.isPaused(id) ? 'paused' : 'running', run, ...(health === undefined ? {} : { health }) }
    }
    const exit = this.readExit(id)
    const known = { ...(run === undefined ? {} : { run }), ...(exit === undefined ? {} : { exit }) }
    if (run?.phase === 'running') return { status: 'exited', ...known }
    if (run === undefined && this.waitsForRestart(id)) return { status: 'restarting', ...known }
    return { status: exit === undefined ? 'created' : 'exited', ...known }
  }

  /** Whether one that lives was put to sleep. */
  isPaused(id: string): boolean {
    return existsSync(this.#paths.runFile(id, 'paused'))
  }

  /** Ids of the containers that wait to be restarted. */
  restartingIds(): string[] {
    return idsIn(this.#paths.restarting)
  }

  /** Whether a process lives that is going to start the container again. */
  waitsForRestart(id: string): boolean {
    const waiting = this.#restarterOf(id)
    return waiting !== undefined && processStartTime(waiting.pid) === waiting.pidStartTime
  }

  /** Whether that is this process: somebody else may have become it. */
  isRestarter(id: string): boolean {
    return this.waitsForRestart(id) && this.#restarterOf(id)?.pid === process.pid
  }

  /** Whether somebody was going to start it again, who may have been killed since: see waitsForRestart(). */
  isMarkedRestarting(id: string): boolean {
    return existsSync(`${this.#paths.restarting}/${id}`)
  }

  /** This process is going to start the container again. */
  markRestarting(id: string): void {
    mkdirSync(this.#paths.restarting, { recursive: true, mode: 0o700 })
    const marker: RestartMarker = { pid: process.pid, pidStartTime: processStartTime(process.pid) ?? '' }
    writeJson(`${this.#paths.restarting}/${id}`, marker)
  }

  /** Nobody is going to: the one who waits ends when the file goes. Idempotent. */
  unmarkRestarting(id: string): void {
    rmSync(`${this.#paths.restarting}/${id}`, { force: true })
  }

  #restarterOf(id: string): RestartMarker | undefined {
    return readJson<RestartMarker>(`${this.#paths.restarting}/${id}`, { pid: 'number' })
  }

  /** The whole ids that begin so. */
  #idsLike(digits: string): string[] {
    const among = (ids: readonly string[]) => ids.filter(id => id.startsWith(digits))
    // Of the digits that people are shown there is one id: `rm $(ps -q)` reads the folder once.
    if (digits.length >= shortId('0'.repeat(64)).length) {
      const [known, ...more] = among(this.#lastIds)
      if (known !== undefined && more.length === 0 && existsSync(this.#paths.container(known))) return [known]
    }
    this.#lastIds = this.ids()
    return among(this.#lastIds)
  }

  #idOfName(name: string): string | undefined {
    try {
      return readlinkSync(`${this.#paths.names}/${name}`)
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'EINVAL', 'ENAMETOOLONG', 'ERR_INVALID_ARG_VALUE')) return undefined
      throw error
    }
  }
}

/** The names in a folder that are ids: what else somebody put there is not ours. */
function idsIn(folder: string): string[] {
  return namesIfThere(folder).filter(name => /^[0-9a-f]{64}$/.test(name))
}

function newestFirst(containers: Container[]): Container[] {
  return containers.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1))
}

/** Who is going to restart a container: `<state>/restarting/<id>`. */
interface RestartMarker {
  readonly pid: number
  readonly pidStartTime: string
}

/** Whether the container's first process lives, and is not another that was given its pid. */
export function isAlive(run: RunRecord): boolean {
  if (run.phase !== 'running' || run.pid === 0) return false
  // A zombie has ended: only its monitor has not looked yet.
  return isRunning(run.pid, run.pidStartTime)
}
