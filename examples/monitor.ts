// Watches what containers use while they use it: one burns half a processor, one keeps 16 MiB in memory, one sleeps. A loop over
// engine.containers.stats() is a monitor; leaving the loop ends it.
// Run it as root, like examples/hello.ts.

import { type ContainerSpec, Engine, type RunningContainer } from 'tsrun'

const MiB = 1024 * 1024
const common = { image: 'busybox', networks: [{ network: 'none' }] }
const specs: readonly ContainerSpec[] = [
  { ...common, name: 'burner', command: ['sh', '-c', 'while :; do :; done'], resources: { cpus: 0.5 } },
  {
    ...common,
    name: 'keeper',
    // Files in a tmpfs count as memory of who wrote them.
    command: ['sh', '-c', 'dd if=/dev/zero of=/cache/data bs=1M count=16 2>/dev/null; exec sleep 1000'],
    mounts: [{ type: 'tmpfs', source: '', target: '/cache', readonly: false }],
    resources: { memoryBytes: 64 * MiB },
  },
  { ...common, name: 'sleeper', command: ['sleep', '1000'] },
]

await using engine = await Engine.open()
const containers: RunningContainer[] = []
try {
  for (const spec of specs) containers.push(await engine.containers.run(spec, { output: 'discard' }))
  let ticks = 0
  const names = containers.map(container => container.name)
  for await (const looks of engine.containers.stats(names, { intervalMs: 400 })) {
    for (const { name, cpuPercent, memoryBytes, pids } of looks) {
      const cpu = `${cpuPercent.toFixed(0)}%`.padStart(5)
      console.log(`${name.padEnd(8)} ${cpu} ${(memoryBytes / MiB).toFixed(1).padStart(6)} MiB ${pids} processes`)
    }
    ticks += 1
    if (ticks === 3) break
    console.log()
  }
} finally {
  await Promise.all(containers.map(container => container.remove()))
}
