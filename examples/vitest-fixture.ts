// Fixtures for Vitest: an engine, and a container that each test has for itself. A test file says
//
//     import { test as base } from 'vitest'
//     import { fixtures } from './vitest-fixture.ts'
//     const test = base.extend(fixtures)
//
//     test('writes files', async ({ box }) => {
//       expect(await box.sh('echo hello > /file; cat /file')).toBe('hello\n')
//     })
//
// Vitest makes what a test names in its braces, and takes it away after the test, whether it passed or not.
// Run directly (as root, like examples/hello.ts), it does the same by hand: a check of itself.

import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Engine } from 'tsrun'

/** A container that waits for commands. */
export interface Box {
  readonly id: string
  /** Runs a shell script in it. @returns what it printed @throws Error when it fails */
  sh(script: string): Promise<string>
}

type Use<T> = (value: T) => Promise<void>

export const fixtures = {
  // biome-ignore lint/correctness/noEmptyPattern: Vitest reads from the braces what a fixture needs
  engine: async ({}: object, use: Use<Engine>): Promise<void> => {
    await using engine = await Engine.open()
    await use(engine)
  },

  box: async ({ engine }: { engine: Engine }, use: Use<Box>): Promise<void> => {
    const spec = { image: 'busybox', command: ['sleep', 'infinity'], networks: [{ network: 'none' }] }
    const container = await engine.containers.create({ ...spec, init: true })
    try {
      await engine.containers.start(container.id)
      await use({ id: container.id, sh: script => runScript(engine, container.id, script) })
    } finally {
      await engine.containers.remove(container.id, { force: true, volumes: true })
    }
  },
}

async function runScript(engine: Engine, id: string, script: string): Promise<string> {
  const process = await engine.containers.exec(id, { command: ['sh', '-euc', script] })
  const [output, complaints, code] = await Promise.all([text(process.stdout), text(process.stderr), process.exit])
  if (code !== 0) throw new Error(`exit code ${code}: ${complaints}`)
  return output
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await fixtures.engine({}, async engine => {
    await fixtures.box({ engine }, async box => {
      process.stdout.write(await box.sh('echo hello > /file; cat /file'))
      const failure = await box.sh('echo no >&2; exit 3').catch((error: Error) => error.message)
      console.log(`a script that fails: ${failure.trim()}`)
    })
    console.log(`${(await engine.containers.list({ all: true })).length} containers are left`)
  })
}
