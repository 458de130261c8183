// Runs code that nobody trusts, as a CI service does: no network, no root, nothing to write to but a small /tmp, a ceiling on
// memory, processors and processes, and a deadline. It then tries the walls, one after the other.
// Run it as root, like examples/hello.ts.

import type { Readable } from 'node:stream'
import { Engine } from 'tsrun'

const MiB = 1024 * 1024

/** Runs a shell script behind walls. @returns how it ended, and the first 64 KiB of what it wrote */
async function runUntrusted(
  engine: Engine,
  script: string,
  timeoutMs: number,
): Promise<{ end: string; output: string }> {
  const job = await engine.containers.run({
    image: 'busybox',
    command: ['sh', '-c', `exec 2>&1; ${script}`],
    user: '65534:65534',
    networks: [{ network: 'none' }],
    readonlyRootfs: true,
    mounts: [{ type: 'tmpfs', source: '', target: '/tmp', readonly: false, data: 'size=8m,mode=1777' }],
    resources: { memoryBytes: 32 * MiB, memorySwapBytes: 32 * MiB, cpus: 0.5, pidsLimit: 16 },
    capDrop: ['ALL'],
    securityOpt: ['no-new-privileges'],
    log: { driver: 'none', maxSizeBytes: 0, maxFiles: 1 },
  })
  try {
    const output = firstBytes(job.stdout, 65_536)
    job.stderr.resume()
    const deadline = AbortSignal.timeout(timeoutMs)
    const code = await job.wait(deadline).catch((error: unknown) => {
      if (!deadline.aborted) throw error
      return undefined
    })
    if (code === undefined) await job.stop({ timeoutSeconds: 0 })
    const { state } = await engine.containers.inspect(job.id)
    const end = code === undefined ? 'out of time' : state.exit?.oomKilled ? 'out of memory' : `exit code ${code}`
    return { end, output: await output }
  } finally {
    await job.remove()
  }
}

/** Reads to the end, so that nobody waits for a reader, and keeps the beginning. */
async function firstBytes(stream: Readable, limit: number): Promise<string> {
  const kept: Buffer[] = []
  let length = 0
  for await (const chunk of stream) {
    if (length < limit) kept.push(chunk.subarray(0, limit - length))
    length += chunk.length
  }
  return Buffer.concat(kept).toString()
}

const scripts = {
  'honest work': 'echo "6 * 7" | bc',
  'takes all memory': 'exec dd if=/dev/zero of=/dev/null bs=64M',
  'takes all processes': 'for i in $(seq 100); do sleep 5 & done',
  'never ends': 'while :; do :; done',
  'calls home': 'nc -w 1 203.0.113.10 80',
  'changes the system': 'echo mine > /etc/passwd',
  'fills the disk': 'dd if=/dev/zero of=/tmp/big bs=1M count=100',
}

await using engine = await Engine.open()
for (const [what, script] of Object.entries(scripts)) {
  const { end, output } = await runUntrusted(engine, script, 1_500)
  console.log(`${what}: ${end}${output === '' ? '' : `: ${output.trim().split('\n').at(0)}`}`)
}
