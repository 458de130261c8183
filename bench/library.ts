// A program that uses the library: what `run` takes where the program is loaded already. `scripts/bench library`.

import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { median, output } from './measure.ts'
import { type Figures, shown } from './report.ts'
import type { World } from './world.ts'

/** Times of run() from the published library under Node. */
export function benchLibrary(world: World, rounds: number): Figures[] {
  const program = join(world.directory, 'library.mjs')
  writeFileSync(
    program,
    source(resolve('dist/lib/index.js'), join(world.directory, 'root'), join(world.directory, 'state'), rounds),
  )
  const rows = (JSON.parse(output(world.inside('node', program))) as [string, number[]][]).map(([name, samples]) => {
    const sorted = [...samples].sort((a, b) => a - b)
    return [name, shown(median(sorted)), shown(sorted[0]), shown(sorted[Math.floor(sorted.length * 0.9)])]
  })
  return [{ title: 'Library, from a warm process (Node)', columns: ['what', 'median ms', 'min', 'p90'], rows }]
}

const source = (library: string, root: string, state: string, rounds: number) => `
import { Engine } from ${JSON.stringify(library)}
const engine = await Engine.open({ root: ${JSON.stringify(root)}, state: ${JSON.stringify(state)} })
const cases = [
  ['run to its end, bridge with a port', { publish: [{ hostIp: '0.0.0.0', protocol: 'tcp', hostPort: 18090, containerPort: 80 }] }],
  ['run to its end, no network', { networks: [{ network: 'none' }] }],
]
const found = []
for (const [name, more] of cases) {
  const samples = []
  for (let round = -5; round < ${rounds}; round += 1) {
    const start = performance.now()
    const container = await engine.containers.run({ image: 'busybox', command: ['true'], autoRemove: true, ...more }, { output: 'discard' })
    await container.wait()
    if (round >= 0) samples.push(performance.now() - start)
  }
  found.push([name, samples])
}
process.stdout.write(JSON.stringify(found))
await engine.close()
`
