// Maps a function that is a container over many inputs, so many at a time. Each container gets its input on stdin, its output
// is the result; results come back in the order of the inputs. The first failure ends the rest.
// Run it as root, like examples/hello.ts.

import { text } from 'node:stream/consumers'
import { type ContainerSpec, Engine } from 'tsrun'

async function mapInContainers(
  engine: Engine,
  spec: ContainerSpec,
  inputs: readonly string[],
  atATime: number,
): Promise<string[]> {
  const results: string[] = []
  const queue = inputs.entries()
  let failed = false
  // All workers take from one queue: who is done early takes the next.
  const worker = async () => {
    for (const [index, input] of queue) {
      if (failed) return
      try {
        results[index] = await runWithInput(engine, spec, input)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const workers = await Promise.allSettled(Array.from({ length: atATime }, worker))
  for (const outcome of workers) if (outcome.status === 'rejected') throw outcome.reason
  return results
}

async function runWithInput(engine: Engine, spec: ContainerSpec, input: string): Promise<string> {
  const job = await engine.containers.run({ ...spec, openStdin: true, autoRemove: true })
  job.stdin.end(input)
  const [output, complaints, code] = await Promise.all([text(job.stdout), text(job.stderr), job.wait()])
  if (code !== 0) throw new Error(`exit code ${code}: ${complaints}`)
  return output
}

await using engine = await Engine.open()
const words = ['cat', 'dog', 'cow', 'hen', 'pig', 'fox', 'owl', 'bee']
const spec: ContainerSpec = { image: 'busybox', command: ['sh', '-c', 'rev'], networks: [{ network: 'none' }] }
const start = Date.now()
const reversed = await mapInContainers(engine, spec, words, 4)
console.log(reversed.join(' '))
console.log(`${words.length} containers in ${Date.now() - start} ms`)
