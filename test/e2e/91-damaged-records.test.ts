// One record is damaged, and everything else goes on: lists leave it out and say so, others are run, stopped and removed, what it
// may need is not cleaned away, and `rm -f` gives it up without leaving anything. What names it says what is wrong: see 82.

import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { World } from '../helpers/world.ts'

let world: World
let id = ''
beforeAll(async () => {
  world = await World.create()
  await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
  await world.ok(['volume', 'create', 'kept'])
  await world.ok(['run', '-d', '--name', 'other', '-net', 'br', 'busybox', 'sleep', '1000'])
})
afterEach(() => world.ok(['rm', '-f', id]))
afterAll(async () => {
  await world.ok(['volume', 'rm', 'kept'])
  // Anonymous ones that somebody might have used stayed.
  await world.ok(['volume', 'prune', '-f'])
  await world.dispose()
})

/** Its image is nobody else's, so that a prune would take it. */
async function startVictim(): Promise<void> {
  await world.ok(['tag', 'busybox', 'own:1'])
  const flags = ['--health-cmd', 'true', '--health-interval', '1h', '-net', 'br', '--ip', '10.51.0.77', '-p', '8080:80']
  id = await world.ok(['run', '-d', '--name', 'victim', ...flags, '-v', 'kept:/kept', 'own:1', 'sleep', '1000'])
}

const files = {
  'container.json': () => join(world.root, 'containers', id, 'container.json'),
  'run.json': () => join(world.state, 'containers', id, 'run.json'),
  'exit.json': () => join(world.root, 'containers', id, 'exit.json'),
  'health.json': () => join(world.state, 'containers', id, 'health.json'),
} as const

const damages: readonly (readonly [name: string, damage: (content: string) => string])[] = [
  ['empty', () => ''],
  ['cut off', content => content.slice(0, content.length / 2)],
  ['from a newer version', content => content.replace('{', '{"format": 2,')],
  ['edited wrong', content => content.replace(/"(id|phase|exitCode|status)": /, '"$1x": ')],
]

/** What goes on beside it, and whether it looks at the record and so has to name it. */
const others: readonly (readonly [command: string, looks: readonly (keyof typeof files)[]])[] = [
  ['ps -a', ['container.json', 'run.json', 'health.json']],
  ['ps', ['container.json', 'run.json', 'health.json']],
  ['info', ['container.json', 'run.json', 'health.json']],
  ['system df', ['container.json', 'run.json', 'health.json']],
  ['stats --no-stream', ['container.json', 'run.json', 'health.json']],
  ['system up', ['container.json']],
  ['system prune -a -f --volumes', ['container.json', 'run.json', 'health.json']],
  ['run --rm -v /x -net br busybox true', []],
  ['run --rm --volumes-from other busybox true', []],
  ['inspect other', []],
  ['network inspect br', []],
  ['create --name made -p 8081:80 busybox', []],
  ['rm made', []],
  ['network reload br', []],
  ['network graph', []],
  ['exec other true', []],
  ['restart -t 0 other', []],
  ['rename other another', []],
  ['rename another other', []],
]

/** What went wrong beside a damaged file of the victim. */
async function problemsBeside(file: keyof typeof files, commands: typeof others): Promise<string[]> {
  const problems: string[] = []
  for (const [command, looks] of commands) {
    const { code, stderr } = await world.tsrun(command.split(' '))
    if (code !== 0) problems.push(`${command}: exit ${code}: ${stderr}`)
    const isNamed = /^tsrun: warning: the state file "[^"]*" is damaged: [^\n]+\n {2}hint: [^\n]*tsrun rm -f/.test(
      stderr,
    )
    if (looks.includes(file) && !(isNamed && stderr.includes(files[file]())))
      problems.push(`${command} does not name it: "${stderr}"`)
  }
  return problems
}

test.each(['container.json', 'run.json', 'health.json'] as const)(
  'beside a damaged %s everything else goes on, and rm -f takes it away',
  async file => {
    await startVictim()
    const good = readFileSync(files[file](), 'utf8')
    const problems: string[] = []
    for (const [name, damage] of damages) {
      const damaged = damage(good)
      writeFileSync(files[file](), damaged)
      // One damage is like the other to whom the file does not concern.
      const commands = damage(good) === '' ? others : others.filter(([, looks]) => looks.includes(file)).slice(0, 2)
      problems.push(...(await problemsBeside(file, commands)).map(problem => `${name}: ${problem}`))
      if (readFileSync(files[file](), 'utf8') !== damaged) problems.push(`${name}: it was changed`)
    }

    expect(problems).toEqual([])
    expect(await world.ok(['images', '-q', 'own:1'])).not.toBe('')

    const victim = id
    await world.ok(['rm', '-f', victim])
    await world.ok(['rmi', 'own:1'])
    // The call of its monitor finds nothing left to do, and ends.
    await expect.poll(() => world.processes().filter(({ command }) => command.includes(victim))).toEqual([])
    expect(await world.host.sh('nft list ruleset')).not.toContain('10.51.0.77')
    // Its name, its port and its static address are free.
    await startVictim()
    expect(await world.addressOf('victim')).toBe('10.51.0.77')
  },
)

test('a damaged exit record is named by ps -a, and rm -f takes its container away', async () => {
  id = await world.ok(['create', '--name', 'ended', 'busybox', 'true'])
  await world.ok(['start', '-a', 'ended'])
  writeFileSync(files['exit.json'](), '{')

  const { code, stderr } = await world.tsrun(['ps', '-a'])

  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(files['exit.json']()) })
  await world.ok(['rm', '-f', 'ended'])
  expect((await world.tsrun(['ps', '-a'])).stderr).toBe('')
})

test.each(['networks/gone.json', 'volumes/gone/volume.json'])(
  'beside a damaged %s everything else goes on',
  async name => {
    const [kind = ''] = name.split('s/')
    await world.ok([kind, 'create', 'gone'])
    const path = join(world.root, name)
    const good = readFileSync(path, 'utf8')
    writeFileSync(path, good.slice(0, 20))

    const problems: string[] = []
    for (const [command] of [...others, [`${kind} ls`] as const, [`${kind} prune -f`] as const]) {
      const { code, stderr } = await world.tsrun(command.split(' '))
      if (code !== 0) problems.push(`${command}: exit ${code}: ${stderr}`)
      if (command === `${kind} ls` && !stderr.includes(path)) problems.push(`${command} does not name it: "${stderr}"`)
    }

    expect(problems).toEqual([])
    writeFileSync(path, good)
    await world.ok([kind, 'rm', 'gone'])
  },
)

test.each(['folder', 'loop of links'])('beside a %s in the place of a record everything else goes on', async kind => {
  await startVictim()
  rmSync(files['container.json']())
  if (kind === 'folder') mkdirSync(files['container.json']())
  else symlinkSync('container.json', files['container.json']())

  expect(await problemsBeside('container.json', others.slice(0, 2))).toEqual([])
  await world.ok(['rm', '-f', 'victim'])
  await expect.poll(() => world.processes().filter(({ command }) => command.includes(id))).toEqual([])
  await world.ok(['rmi', 'own:1'])
})

test.each(['name', 'short id', 'id'])('rm -f takes away what runs and has no record any more, by its %s', async by => {
  await startVictim()
  rmSync(files['container.json']())

  await world.ok(['rm', '-f', { name: 'victim', 'short id': id.slice(0, 12), id }[by] ?? ''])

  await expect.poll(() => world.processes().filter(({ command }) => command.includes(id))).toEqual([])
  expect(await world.host.sh('nft list ruleset')).not.toContain('10.51.0.77')
  await world.ok(['rmi', 'own:1'])
  // Its name, its port and its static address are free.
  await startVictim()
  await world.ok(['rm', '-f', 'victim'])
  await world.ok(['rmi', 'own:1'])
})

test('a file that is no container among them is left alone', async () => {
  const stray = join(world.root, 'containers', 'README')
  writeFileSync(stray, 'mine')

  expect((await world.tsrun(['ps', '-a'])).code).toBe(0)
  expect((await world.tsrun(['system', 'prune', '-f'])).code).toBe(0)
  expect(readFileSync(stray, 'utf8')).toBe('mine')
  writeFileSync(stray, '')
  await world.host.sh(`rm ${stray}`)
})
