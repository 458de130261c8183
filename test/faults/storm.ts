// The storm: clients that do random things to the same few containers, networks and images at once, while clients and monitors are
// killed at random. After each round the invariants of storm-invariants.ts must hold. A seed repeats the choices of every
// client; the kernel still schedules as it likes.

import { sleep } from '../helpers/command.ts'
import { Random } from '../helpers/random.ts'
import { World } from '../helpers/world.ts'
import { prepareWorld, registry } from './prepare-world.ts'
import { brokenInvariants, monitors, resolvers } from './storm-invariants.ts'

export interface StormOptions {
  readonly seed: number
  readonly clients: number
  /** Length of all rounds together, in seconds. */
  readonly seconds: number
  /** Default 10. */
  readonly roundSeconds?: number
  /** Called with each round's figures. */
  readonly onRound?: (figures: StormFigures) => void
}

export interface StormFigures {
  rounds: number
  commands: number
  /** Commands that ended with an error, as many must: names are taken, networks in use. */
  refused: number
  killedClients: number
  killedMonitors: number
  /** The longest command that was not killed. */
  slowestMs: number
  /** That command, and what it said where it failed. */
  slowest: string
  /** What was wrong, one line each. */
  readonly problems: string[]
}

/** No command may take longer, however busy the machine. */
const boundMs = 60_000

/** What says that an error was not foreseen. */
export const unforeseen = /TypeError|ReferenceError|RangeError|SyntaxError|undefined is not|Cannot read prop|\n {4}at /

type Action = (random: Random) => string

const names = ['a', 'b', 'c', 'd', 'e', 'f']
const networks = ['one', 'two', 'three']
const container = (random: Random) => random.pick(names)
const network = (random: Random) => random.pick(networks)
const ports = (random: Random) => (random.below(2) === 0 ? '' : ` -p ${8000 + random.below(4)}:80`)
const options = (random: Random) =>
  `--name ${container(random)} --network ${random.pick([...networks, 'bridge'])}${ports(random)}`

const actions: readonly Action[] = [
  random => `run -d ${options(random)} busybox sleep ${random.pick(['0.1', '2', '1000', '1000', '1000'])}`,
  random => `run -d ${options(random)} --restart on-failure:2 busybox sh -c 'sleep 0.2; exit 1'`,
  random => `run --rm ${options(random)} busybox true`,
  random => `create ${options(random)} busybox sleep 1000`,
  random => `start ${container(random)}`,
  random => `stop -t 0 ${container(random)}`,
  random => `restart -t 0 ${container(random)}`,
  random => `kill ${container(random)}`,
  random => `exec ${container(random)} true`,
  random => `rm -f ${container(random)}`,
  random => `rm ${container(random)}`,
  random => `network connect ${network(random)} ${container(random)}`,
  random => `network disconnect ${network(random)} ${container(random)}`,
  random => `update --publish-add ${8000 + random.below(4)}:80 ${container(random)}`,
  random => `update --publish-rm 80 ${container(random)}`,
  random => `update -m ${random.pick(['64m', '128m'])} --pids-limit 50 ${container(random)}`,
  random => `rename ${container(random)} ${container(random)}`,
  random => `${random.pick(['pause', 'unpause'])} ${container(random)}`,
  random => `network reload ${network(random)}`,
  random => random.pick([`commit ${container(random)} app`, `cp ../context ${container(random)}:/copied`]),
  random => `network create --subnet 10.60.${random.below(4)}.0/28 ${network(random)}`,
  random => `network create ${network(random)}`,
  random => `network rm ${network(random)}`,
  random => random.pick([`pull -q ${registry}/app:1`, 'load -q -i ../image.tar', 'rmi -f app', 'image prune -af']),
  random => random.pick(['ps -a', 'network prune -f', 'container prune -f', 'system prune -f', 'inspect a', 'images']),
]

/** Makes a world, lets the clients loose, and judges. */
export async function storm(options: StormOptions): Promise<StormFigures> {
  const world = await World.create()
  const figures: StormFigures = {
    rounds: 0,
    commands: 0,
    refused: 0,
    killedClients: 0,
    killedMonitors: 0,
    slowestMs: 0,
    slowest: '',
    problems: [],
  }
  try {
    await prepareWorld(world)
    const clients = Array.from({ length: options.clients }, (_, index) => new Random(options.seed * 1000 + index))
    const killer = new Random(options.seed * 1000 + 999)
    const end = Date.now() + options.seconds * 1000
    while (Date.now() < end) {
      const roundEnd = Math.min(end, Date.now() + (options.roundSeconds ?? 10) * 1000)
      await Promise.all([
        ...clients.map(random => client(world, random, roundEnd, figures)),
        killMonitors(world, killer, roundEnd, figures),
      ])
      figures.rounds += 1
      const broken = await brokenInvariants(world)
      figures.problems.push(...broken.map(problem => `round ${figures.rounds}: ${problem}`))
      options.onRound?.(figures)
    }
    // What is left at the end must go by ordinary commands.
    await world.tsrun(['rmi', '-f', 'app', `${registry}/app:1`])
    await world.tsrun(['image', 'prune', '-f'])
    figures.problems.push(...(await world.leakCheck({ timeoutMs: 15_000 })).map(leak => `at the end: ${leak}`))
    return figures
  } finally {
    await world.dispose({ leakCheck: false })
  }
}

/** One client: command after command until the round is over. */
async function client(world: World, random: Random, end: number, figures: StormFigures): Promise<void> {
  while (Date.now() < end) {
    const line = random.pick(actions)(random)
    const killedAfterMs = random.below(6) === 0 ? random.below(250) : undefined
    const started = Date.now()
    const running = world.start(words(line))
    running.endInput()
    const killer = killedAfterMs === undefined ? undefined : setTimeout(() => running.kill('SIGKILL'), killedAfterMs)
    const outcome = await Promise.race([running.result, sleep(boundMs).then(() => undefined)])
    clearTimeout(killer)
    figures.commands += 1
    if (outcome === undefined) {
      running.kill('SIGKILL')
      figures.problems.push(`no end after ${boundMs} ms: ${line}`)
    } else if (outcome.signal === 'SIGKILL') {
      figures.killedClients += 1
    } else {
      const tookMs = Date.now() - started
      if (tookMs > figures.slowestMs)
        Object.assign(figures, { slowestMs: tookMs, slowest: `${line}: ${outcome.stderr.trim()}` })
      if (outcome.code !== 0) figures.refused += 1
      if (unforeseen.test(outcome.stderr)) figures.problems.push(`${line}: ${outcome.stderr.trim()}`)
    }
  }
}

/** Kills a monitor or a resolver now and then, as the kernel does when memory is short. */
async function killMonitors(world: World, random: Random, end: number, figures: StormFigures): Promise<void> {
  while (Date.now() < end) {
    await sleep(200 + random.below(1200))
    const candidates = random.below(5) === 0 ? resolvers(world) : monitors(world)
    if (candidates.length === 0) continue
    try {
      process.kill(random.pick(candidates).pid, 'SIGKILL')
      figures.killedMonitors += 1
    } catch {
      // It has ended by itself.
    }
  }
}

/** A line into words; single quotes keep one together. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
}
