// The library as a program uses it: what runs is held, looked at, aborted and gone.

import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { dist, World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterAll(async () => {
  rmSync(join(world.dir, 'tmp', 'program.mjs'), { force: true })
  await world.dispose()
})

const library = pathToFileURL(join(dist, 'lib', 'index.js')).href

function writeProgram(body: string): string {
  const file = join(world.dir, 'tmp', 'program.mjs')
  writeFileSync(
    file,
    `import { Engine, TsrunError } from ${JSON.stringify(library)}
const tell = value => console.log(JSON.stringify(value))
const ids = async () => (await engine.containers.list({ all: true })).map(each => each.container.name).sort()
const engine = await Engine.open()
${body}
await engine.close()
`,
  )
  return file
}

/** Runs a program on the host; returns what it told. */
// biome-ignore lint/suspicious/noExplicitAny: looked into by each test
async function told(body: string): Promise<any[]> {
  const result = await world.host.tryExec(process.execPath, [writeProgram(body)], { env: world.env, timeoutMs: 60_000 })
  expect(result, result.stderr).toMatchObject({ code: 0, stderr: '' })
  return result.stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line))
}

describe('a container that is run', () => {
  test('has addresses and ports, and is gone after its block', async () => {
    const [facts, answer, inside, after] = await told(`
{
  const web = await engine.containers.run(
    { image: 'busybox', name: 'web', command: ['httpd', '-f', '-h', '/etc'],
      publish: [{ protocol: 'tcp', hostIp: '', hostPort: 0, containerPort: 80 }] },
    { output: 'discard' })
  tell([web.address, web.addresses[0], web.hostPort(80), web.hostPort(81) ?? null, web.ports[0].containerPort])
  let page
  while (page === undefined)
    page = await fetch(\`http://127.0.0.1:\${web.hostPort(80)}/hostname\`).then(each => each.text(), () => undefined)
  tell(page.trim() === web.id.slice(0, 12))
  const run = await web.exec(['sh', '-c', 'echo $A'], { env: ['A=b'] })
  let said = ''
  for await (const chunk of run.stdout) said += chunk
  tell([said, await run.exit])
  // What \`await using\` calls, which Node 20 knows only when it is compiled.
  await web[Symbol.asyncDispose]()
}
tell(await ids())`)

    expect(facts[0]).toMatch(/^10\.210\.\d+\.\d+$/)
    expect(facts[1]).toBe(`${facts[0]}/24`)
    expect(facts.slice(2)).toEqual([expect.any(Number), null, 80])
    expect(answer).toBe(true)
    expect(inside).toEqual(['b\n', 0])
    expect(after).toEqual([])
  })

  test('is killed and removed by its signal, and wait() says why', async () => {
    const [reason, after, early] = await told(`
const stop = new AbortController()
const job = await engine.containers.run({ image: 'busybox', command: ['sh', '-c', 'yes'] }, { signal: stop.signal })
setTimeout(() => stop.abort(new Error('enough')), 200)
tell(await job.wait().then(String, error => error.message))
tell(await ids())
tell(await engine.containers.run({ image: 'busybox' }, { signal: AbortSignal.abort(new Error('never')) })
  .catch(error => error.message))`)

    expect([reason, after, early]).toEqual(['enough', [], 'never'])
  })

  test('writes what it likes with its output discarded, and the log has it', async () => {
    const [code, lines, removed] = await told(`
const job = await engine.containers.run(
  { image: 'busybox', name: 'loud', command: ['sh', '-c', 'yes | head -n 100000; exit 3'] }, { output: 'discard' })
tell(await job.wait())
let lines = 0
for await (const line of engine.containers.logs('loud')) lines += 1
tell(lines)
await job.remove()
await job.remove()
tell(await ids())`)

    expect([code, lines, removed]).toEqual([3, 100_000, []])
  })

  test('goes on after a wait that was given up', async () => {
    const [gaveUp, status, code] = await told(`
const job = await engine.containers.run({ image: 'busybox', command: ['sleep', '1000'] }, { output: 'discard' })
tell(await job.wait(AbortSignal.timeout(100)).catch(error => error.name))
tell((await engine.containers.inspect(job.id)).state.status)
tell(await job.stop({ timeoutSeconds: 0 }))
await job.remove()`)

    expect([gaveUp, status, code]).toEqual(['TimeoutError', 'running', 137])
  })
})

test('logs, events and stats are iterables that a signal ends', async () => {
  const [log, action, used] = await told(`
const job = await engine.containers.run(
  { image: 'busybox', command: ['sh', '-c', 'while :; do echo tick; sleep 0.1; done'] }, { output: 'discard' })
const first = async (make) => {
  const stop = new AbortController()
  const seen = []
  for await (const each of make(stop.signal)) if (seen.push(each) === 2) stop.abort()
  return seen
}
tell((await first(signal => engine.containers.logs(job.id, { follow: true, signal }))).map(line => String(line.content)))
const events = first(signal => engine.events.stream({ since: new Date(0).toISOString(), signal }))
await engine.containers.pause(job.id)
await engine.containers.unpause(job.id)
tell((await events).length)
tell((await first(signal => engine.containers.stats([job.id], { signal, intervalMs: 50 }))).length)
await job.remove()`)

  expect(log).toEqual(['tick\n', 'tick\n'])
  expect(action).toBe(2)
  expect(used).toBe(2)
})

test('errors are one class, with a kind, a code and a hint', async () => {
  const errors = await told(`
for (const task of [
  () => engine.containers.inspect('nobody'),
  () => engine.containers.create({ image: 'busybox', name: '-bad' }),
  () => engine.networks.inspect('nowhere'),
  () => engine.containers.run({ image: 'busybox', command: ['no-such-command'] }),
  () => engine.containers.create({ image: 'no-such-image:1' }, { pull: 'never' }),
]) {
  const error = await Promise.resolve().then(task).catch(error => error)
  tell([error instanceof TsrunError, error.kind, error.code, typeof error.hint])
}
tell(await ids())`)

  expect(errors).toEqual([
    [true, 'not-found', 'no-such-container', 'string'],
    [true, 'invalid', 'invalid-name', 'string'],
    [true, 'not-found', 'no-such-network', 'string'],
    [true, 'command-not-found', expect.any(String), 'string'],
    [true, 'not-found', 'no-such-image', 'string'],
    [],
  ])
})

test('restart, prune and pull policies are methods', async () => {
  const [restarted, kept, pruned] = await told(`
const job = await engine.containers.run({ image: 'busybox', name: 'again', command: ['sleep', '1000'] }, { output: 'discard' })
const run = await engine.containers.restart('again', { timeoutSeconds: 0 })
tell(run.pid !== job.pid)
await engine.containers.create({ image: 'busybox', name: 'kept', labels: { keep: 'yes' } })
await engine.containers.create({ image: 'busybox', name: 'gone' })
const { containers } = await engine.prune({ withoutLabels: ['keep'] })
tell([containers.length, await ids()])
await engine.containers.remove('again', { force: true })
tell((await engine.containers.prune()).removed.map(each => each.name))`)

  expect(restarted).toBe(true)
  expect(kept).toEqual([1, ['again', 'kept']])
  expect(pruned).toEqual(['kept'])
})

test('a container outlives the program that holds it, and is given back when it ends', async () => {
  const program = writeProgram(`
const job = await engine.containers.run({ image: 'busybox', name: 'orphan', command: ['sleep', '1'] }, { output: 'discard' })
tell(job.pid)
process.kill(process.pid, 'SIGKILL')`)

  await world.host.tryExec(process.execPath, [program], { env: world.env })

  expect(await world.ok(['ps', '--format', '{{.Names}}'])).toBe('orphan')
  await eventually('it has ended', async () => (await world.ok(['ps', '-q'])) === '')
  expect(await world.ok(['inspect', '-f', '{{.State.ExitCode}}', 'orphan'])).toBe('0')
  await world.ok(['rm', 'orphan'])
})
