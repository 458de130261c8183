import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type CgroupHandle,
  cgroupLayout,
  createCgroup,
  freezeCgroup,
  isFrozen,
  isPopulated,
  killCgroup,
  listPids,
  oomKills,
  openCgroup,
  readCgroupStats,
  removeCgroup,
  removeCgroupParent,
  thawCgroup,
  updateCgroup,
} from '../../src/kernel/cgroup/cgroup.ts'
import { Undo } from '../../src/lib/rollback.ts'
import { defaultDeviceRules, type Resources } from '../../src/model/resources.ts'
import { type Running, start } from '../helpers/command.ts'

const parent = `tsrun-test-${process.pid}`
const isRoot = process.geteuid?.() === 0
if (!isRoot && process.env.TSRUN_REQUIRE_ROOT === '1') throw new Error('these tests need root')

let undo = new Undo()
let running: Running[] = []
let made: string[] = []
let count = 0

function create(resources: Resources = {}): CgroupHandle {
  const path = `${parent}/c${++count}`
  made.push(path)
  return createCgroup(path, resources, undo)
}

/** Starts a shell script as a container's process would join: it writes itself in, with one thread. */
function inside(cgroup: CgroupHandle, script: string): Running {
  const files = [...cgroup.procsFiles, ...(cgroup.v2Dir === undefined ? [] : [`${cgroup.v2Dir}/cgroup.procs`])]
  const process = start(['sh', '-c', `for f in ${files.join(' ')}; do echo 0 > $f || exit 99; done; ${script}`])
  running.push(process)
  return process
}

/** What stands in a file of the v1 controller, or of the v2 directory under its name there. */
function content(cgroup: CgroupHandle, controller: string, v1File: string, v2File: string): string {
  const v1 = [...cgroup.v1Dirs].find(([name]) => name === controller)?.[1]
  return readFileSync(v1 === undefined ? `${cgroup.v2Dir}/${v2File}` : `${v1}/${v1File}`, 'utf8').trim()
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return
    await sleep(10)
  }
  throw new Error(`never: ${what}`)
}

describe.skipIf(!isRoot)('cgroup', () => {
  const isV2 = isRoot && cgroupLayout().mode === 'v2'

  beforeEach(() => {
    undo = new Undo()
    running = []
    made = []
  })

  afterEach(async () => {
    for (const path of made) await killCgroup(path)
    await Promise.all(running.map(process => process.result))
    await undo.run()
    removeCgroupParent(`/${parent}`)
    const { v2Root, v1Roots } = cgroupLayout()
    for (const root of [...(v2Root === undefined ? [] : [v2Root]), ...v1Roots.values()]) {
      expect(readdirSync(root).filter(name => name === parent)).toEqual([])
    }
  })

  test('createCgroup() makes directories, writes the limits, and undo takes them away', async () => {
    const cgroup = create({ memoryBytes: 64 << 20, pidsLimit: 30, cpus: 0.5, cpuShares: 512, cpusetCpus: '0' })

    expect(content(cgroup, 'memory', 'memory.limit_in_bytes', 'memory.max')).toBe('67108864')
    expect(content(cgroup, 'pids', 'pids.max', 'pids.max')).toBe('30')
    expect(content(cgroup, 'cpu', 'cpu.cfs_quota_us', 'cpu.max')).toBe(isV2 ? '50000 100000' : '50000')
    expect(content(cgroup, 'cpu', 'cpu.shares', 'cpu.weight')).toBe(isV2 ? '59' : '512')
    expect(content(cgroup, 'cpuset', 'cpuset.cpus', 'cpuset.cpus')).toBe('0')

    await undo.run()

    expect([cgroup.v2Dir, ...cgroup.v1Dirs.values()].filter(dir => dir !== undefined && existsSync(dir))).toEqual([])
  })

  test.skipIf(isV2)('createCgroup() makes no directory for a controller that nobody asked for', () => {
    const cgroup = create()

    expect([...cgroup.v1Dirs.keys()]).not.toContain('cpu')
    expect([...cgroup.v1Dirs.keys()]).not.toContain('cpuset')
    expect([...cgroup.v1Dirs.keys()]).not.toContain('devices')
  })

  test('createCgroup() replaces an empty cgroup of that name and refuses one that is lived in', async () => {
    const first = create()
    expect(() => createCgroup(first.path, {}, undo)).not.toThrow()
    const process = inside(openCgroup(first.path), 'echo in; sleep 60')
    await process.waitFor(/in/)

    expect(() => createCgroup(first.path, {}, undo)).toThrow(/it exists and has processes in it/)
  })

  test('createCgroup() says which option the kernel refused, and leaves nothing after undo', async () => {
    expect(() => create({ cpusetCpus: '4000' })).toThrowError(
      expect.objectContaining({ kind: 'invalid', hint: expect.stringMatching(/^usable processors: 0/) }),
    )
    expect(() => create({ cpusetCpus: '4000' })).toThrow(/--cpuset-cpus "4000"/)
    expect(() => create({ deviceReadBps: [{ path: '/dev/null', rate: 1 }] })).toThrow(
      '"/dev/null" is not a block device',
    )
  })

  test('a process over its memory limit is killed, and the kill is counted', async () => {
    const cgroup = create({ memoryBytes: 16 << 20, memorySwapBytes: 16 << 20 })

    const { code, signal } = await inside(cgroup, 'exec head -c 64m /dev/zero | exec tail').result

    expect([137, null]).toContain(code)
    if (code === null) expect(signal).toBe('SIGKILL')
    expect(oomKills(cgroup)).toBeGreaterThan(0)
    expect(readFileSync(cgroup.oomFiles[0] ?? '', 'utf8')).toMatch(/^oom_kill [1-9]/m)
  })

  test('a fork over the pids limit is refused', async () => {
    const cgroup = create({ pidsLimit: 4 })

    const { stderr } = await inside(cgroup, 'for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done').result

    expect(stderr).toMatch(/[Cc]annot fork|Resource temporarily unavailable/)
  })

  test('a busy process is throttled to its quota', async () => {
    const cgroup = create({ cpus: 0.2 })
    const process = inside(cgroup, 'echo go; while :; do :; done')
    await process.waitFor(/go/)
    const before = readCgroupStats(cgroup).cpu?.usageNs ?? 0
    await sleep(1000)

    const cpu = readCgroupStats(cgroup).cpu
    expect(content(cgroup, 'cpu', 'cpu.stat', 'cpu.stat')).toMatch(/^nr_throttled [1-9]/m)
    expect(cpu?.throttledPeriods).toBeGreaterThan(2)
    expect((cpu?.usageNs ?? 0) - before).toBeLessThan(500e6)
    expect((cpu?.usageNs ?? 0) - before).toBeGreaterThan(50e6)
  })

  test('a process runs on the processors of its cpuset', async () => {
    const { stdout } = await inside(create({ cpusetCpus: '0' }), 'grep Cpus_allowed_list /proc/self/status').result

    expect(stdout).toMatch(/Cpus_allowed_list:\s+0$/m)
  })

  test('a device outside the list can be made but not opened', async () => {
    const node = `/dev/shm/${parent}-zero`
    const script = `mknod ${node} c 1 5; head -c1 ${node} | wc -c; rm ${node}; mknod ${node} c 1 11 && echo made; cat ${node} >/dev/null; rm ${node}`
    const { stdout, stderr } = await inside(create({ devices: defaultDeviceRules }), script).result

    expect(stdout).toBe('1\nmade\n')
    expect(stderr).toMatch(/Operation not permitted/)
  })

  test('freezeCgroup() stops the processes and thawCgroup() lets them go on', async () => {
    const cgroup = create()
    const process = inside(cgroup, 'while :; do echo tick; sleep 0.02; done')
    await process.waitFor(/tick/)

    await freezeCgroup(cgroup)
    await sleep(50)
    const frozen = process.stdout().length
    await sleep(200)
    expect(process.stdout().length).toBe(frozen)
    expect(isFrozen(cgroup.path)).toBe(true)

    thawCgroup(cgroup.path)
    await until('it goes on', () => process.stdout().length > frozen)
    expect(isFrozen(cgroup)).toBe(false)
  })

  test('killCgroup() kills all, also the frozen, and removeCgroup() waits for them', async () => {
    const cgroup = create()
    const process = inside(cgroup, 'for i in 1 2 3 4 5; do (while :; do sleep 0.01; done) & done; echo up; wait')
    await process.waitFor(/up/)
    expect(listPids(cgroup).length).toBeGreaterThan(5)
    expect(isPopulated(cgroup)).toBe(true)
    await freezeCgroup(cgroup)

    await killCgroup(cgroup.path)
    await removeCgroup(cgroup.path)

    expect((await process.result).signal).toBe('SIGKILL')
    expect(openCgroup(cgroup.path)).toMatchObject({ procsFiles: [], oomFiles: [] })
    await killCgroup(cgroup.path)
    await removeCgroup(cgroup.path)
  })

  test('killCgroup() without cgroup.kill and without a freezer gets a fork bomb', async () => {
    const cgroup = create({ pidsLimit: 100 })
    const process = inside(cgroup, 'f() { while :; do f & sleep 0.005; done; }; echo up; f 2>/dev/null')
    await process.waitFor(/up/)
    await sleep(100)
    const { v2Dir, ...rest } = cgroup
    const old = v2Dir === undefined || isV2 ? cgroup : rest

    await killCgroup(old)

    await until('all are gone', () => listPids(cgroup).length === 0)
  })

  test('removeCgroup() removes cgroups that the container made, and reports a busy one', async () => {
    const cgroup = create()
    const dir = cgroup.v2Dir ?? [...cgroup.v1Dirs.values()][0]
    const process = inside(cgroup, `mkdir -p ${dir}/a/b && echo up; sleep 60`)
    await process.waitFor(/up/)

    await expect(removeCgroup(cgroup, { timeoutMs: 30 })).rejects.toThrow(/EBUSY/)
    await killCgroup(cgroup)
    await removeCgroup(cgroup)

    expect(existsSync(dir ?? '')).toBe(false)
  })

  test('updateCgroup() changes limits of a running container, in controllers it did not have too', async () => {
    const cgroup = create({ memoryBytes: 32 << 20 })
    const process = inside(cgroup, 'sleep 60 & echo up; wait')
    await process.waitFor(/up/)

    updateCgroup(cgroup.path, { memoryBytes: 128 << 20, cpus: 0.3, cpusetCpus: '0', pidsLimit: 50 })
    const now = openCgroup(cgroup.path)

    expect(content(now, 'memory', 'memory.limit_in_bytes', 'memory.max')).toBe(`${128 << 20}`)
    expect(content(now, 'cpu', 'cpu.cfs_quota_us', 'cpu.max')).toMatch(/^30000/)
    expect(content(now, 'pids', 'pids.max', 'pids.max')).toBe('50')
    expect(content(now, 'cpu', 'cgroup.procs', 'cgroup.procs').split('\n')).toHaveLength(2)
    expect(readFileSync(`/proc/${process.pid}/status`, 'utf8')).toMatch(/Cpus_allowed_list:\s+0$/m)
    updateCgroup(cgroup.path, { memoryBytes: 16 << 20 })
    expect(content(now, 'memory', 'memory.limit_in_bytes', 'memory.max')).toBe(`${16 << 20}`)
  })

  test('readCgroupStats() counts memory, processes and bytes', async () => {
    const cgroup = create({ memoryBytes: 256 << 20, pidsLimit: 40 })
    const process = inside(cgroup, 'head -c 50m /dev/zero > /dev/shm/tsrun-stats; sleep 60 & echo up; wait')
    try {
      await process.waitFor(/up/)
      const stats = readCgroupStats(cgroup)

      expect(stats.memory?.usageBytes).toBeGreaterThan(50 << 20)
      expect(stats.memory?.usageBytes).toBeLessThan(80 << 20)
      expect(stats.memory?.limitBytes).toBe(256 << 20)
      expect(stats.pids).toEqual({ current: 2, limit: 40 })
      expect(stats.cpu?.usageNs).toBeGreaterThan(0)
      expect(stats.blkio?.readBytes).toBeGreaterThanOrEqual(0)
    } finally {
      await start(['rm', '-f', '/dev/shm/tsrun-stats']).result
    }
  })

  test.skipIf(isV2)('joining by writing 0 into tasks waits for no grace period', async () => {
    const cgroup = create({ devices: defaultDeviceRules, cpus: 1 })
    const python = `import os,sys,time
started = time.monotonic()
for f in sys.argv[1:]:
    fd = os.open(f, os.O_WRONLY); os.write(fd, b'0'); os.close(fd)
print((time.monotonic() - started) * 1000)`
    const times: number[] = []
    for (let i = 0; i < 5; i++) {
      const { stdout } = await start(['python3', '-c', python, ...cgroup.procsFiles]).result
      times.push(Number(stdout))
      await sleep(30)
    }

    expect(cgroup.procsFiles.every(file => file.endsWith('/tasks'))).toBe(true)
    expect(times.sort((a, b) => a - b)[2]).toBeLessThan(5)
  })

  test('removeCgroupParent() leaves a parent alone that has containers', () => {
    const cgroup = create()

    removeCgroupParent(`/${parent}`)

    expect(openCgroup(cgroup.path)).toEqual(cgroup)
  })
})
