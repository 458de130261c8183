// What is published: the package as npm makes it, installed into an empty project, and used there.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { succeed } from '../helpers/command.ts'
import { plainEnvironment } from '../helpers/namespace.ts'
import { World } from '../helpers/world.ts'

/** This Node, and those that scripts/test-nodes has fetched. */
const nodes = [process.execPath, ...(process.env.TSRUN_TEST_NODES ?? '').split(':').filter(Boolean)]

const repository = fileURLToPath(new URL('../../', import.meta.url))

const program = `import { Engine, type RunningContainer, TsrunError } from 'tsrun'

const engine = await Engine.open()
const job: RunningContainer = await engine.containers.run({
  image: 'busybox',
  command: ['sh', '-c', 'echo hello from $(hostname)'],
  hostname: 'inside',
  networks: [{ network: 'none' }],
  autoRemove: true,
})
for await (const chunk of job.stdout) process.stdout.write(chunk)
console.log('exit code', await job.wait())
try {
  engine.containers.find('nobody')
} catch (error) {
  if (error instanceof TsrunError) console.log(error.kind)
}
await engine.close()
`

describe('the package', () => {
  let world: World
  let project: string
  let files: readonly string[]

  beforeAll(async () => {
    world = await World.create()
    project = join(world.dir, 'project')
    mkdirSync(project)
    // On the machine itself, not in the world: npm may ask a registry for what its cache does not hold.
    const env = { ...plainEnvironment, ...npmConfiguration() }
    const npm = (args: readonly string[], cwd: string) =>
      succeed(['npm', ...args, '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier'], {
        env,
        cwd,
        timeoutMs: 90_000,
      })
    const packed = JSON.parse(await npm(['pack', '--json', '--pack-destination', world.dir], repository))
    files = packed[0].files.map((file: { path: string }) => file.path)
    writeFileSync(join(project, 'package.json'), '{ "name": "user", "private": true, "type": "module" }\n')
    writeFileSync(join(project, 'package-lock.json'), JSON.stringify(lockOfDependencies()))
    await npm(['install', '--prefer-offline', join(world.dir, packed[0].filename)], project)
  })

  afterAll(() => world?.dispose())

  test('holds what it needs and nothing of the workshop', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'LICENSE',
        'README.md',
        'dist/cli.js',
        'dist/images/busybox/index.json',
        'dist/lib/index.d.ts',
        'dist/lib/index.js',
        'dist/tsrun-init',
        'package.json',
      ]),
    )
    const stray = files.filter(
      path => !/^(dist\/(cli\.js$|tsrun-init$|lib\/|images\/)|native\/|[A-Za-z]+(\.md|\.json)?$)/.test(path),
    )
    expect(stray).toEqual([])
  })

  test('brings its types', async () => {
    writeFileSync(join(project, 'program.ts'), program)
    const types = join(repository, 'node_modules', '@types')
    const flags = ['--strict', '--module', 'nodenext', '--target', 'es2023', '--typeRoots', types, '--types', 'node']
    const tsc = join(repository, 'node_modules', '.bin', 'tsc')
    await succeed([tsc, ...flags, 'program.ts'], { env: plainEnvironment, cwd: project, timeoutMs: 60_000 })
    expect(readdirSync(project)).toContain('program.js')
  })

  test.each(nodes)('runs containers from a program that imports it, under %s', async node => {
    const result = await world.host.tryExec(node, ['program.js'], { env: world.env, cwd: project })

    expect(result).toMatchObject({ stdout: 'hello from inside\nexit code 0\nnot-found\n', stderr: '', code: 0 })
  })

  test.each(nodes)('installs the command line, which runs under %s', async node => {
    const tsrun = join(project, 'node_modules', '.bin', 'tsrun')
    const run = (...args: string[]) => world.host.tryExec(node, [tsrun, ...args], { env: world.env })

    expect(await run('run', '--rm', '--network', 'none', 'busybox', 'echo', 'hello')).toMatchObject({
      stdout: 'hello\n',
      stderr: '',
      code: 0,
    })
  })
})

/** The versions of this repository, which `npm ci` has left in npm's cache: no registry is asked for what is newest. */
function lockOfDependencies(): object {
  const lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8'))
  const entries = Object.entries<{ dev?: boolean }>(lock.packages)
  const packages = Object.fromEntries(entries.filter(([path, { dev }]) => path !== '' && dev !== true))
  return { ...lock, name: 'user', packages: { '': { name: 'user' }, ...packages } }
}

/** Where the user's npm keeps its cache and finds its registry; node itself may stand outside the plain PATH. */
function npmConfiguration(): NodeJS.ProcessEnv {
  const { HOME, PATH } = process.env
  const configured = Object.entries(process.env).filter(([name]) =>
    /^npm_config_|^https?_proxy$|^no_proxy$/i.test(name),
  )
  return {
    ...Object.fromEntries(configured),
    ...(HOME === undefined ? {} : { HOME }),
    ...(PATH === undefined ? {} : { PATH }),
  }
}
