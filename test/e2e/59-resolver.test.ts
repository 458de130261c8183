// tsrun-dns as a process: what it may do, what it takes, and that neither hostile queries nor kill -9 end the names.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import {
  askFrom,
  askOne,
  codes,
  floodScript,
  pidOf,
  type Query,
  type ResolverProcess,
  resolverProcesses,
  serveDns,
  withResolvConf,
} from '../helpers/dns.ts'
import { inWorld, type World } from '../helpers/world.ts'

const sleeper = ['busybox', 'sleep', '600']

/** The containers `asker` and `web` on a network, on a host whose server knows nobody. */
async function startPair(world: World) {
  const server = await serveDns(world.host, 1, ['127.0.0.53'])
  const host = withResolvConf(world, 'nameserver 127.0.0.53\n')
  await world.ok(['network', 'create', 'br'])
  for (const name of ['asker', 'web']) await host.ok(['run', '-d', '--name', name, '--network', 'br', ...sleeper])
  return { server, host, web: await world.addressOf('web') }
}

const statusOf = ({ pid }: ResolverProcess, field: string) =>
  new RegExp(`^${field}:[ \\t]*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]

describe('tsrun-dns', () => {
  test(
    'is an unprivileged user without capabilities, in an empty root, confined, and small',
    inWorld(async world => {
      await startPair(world)
      await askFrom(
        world,
        'asker',
        Array.from({ length: 100 }, (_, i) => ({ name: `n${i}.example.test`, id: i })),
      )

      const [keeper, answerer, ...others] = resolverProcesses(world)
      expect(others).toEqual([])
      for (const process of [keeper, answerer]) {
        if (process === undefined) throw new Error('a process is missing')
        const ids = statusOf(process, 'Uid')?.split(/\s+/)
        expect(new Set(ids).size).toBe(1)
        expect(Number(ids?.[0])).toBeGreaterThan(65533)
        expect(statusOf(process, 'Groups')?.trim()).toBe('')
        for (const set of ['CapPrm', 'CapEff', 'CapAmb']) expect(statusOf(process, set)).toBe('0000000000000000')
        expect(statusOf(process, 'NoNewPrivs')).toBe('1')
        expect(readlinkSync(`/proc/${process.pid}/root`)).toBe(`${world.state}/dns/empty`)
        expect(pssOf(process.pid)).toBeLessThan(1024)
      }
      expect(statusOf(answerer as ResolverProcess, 'Seccomp')).toBe('2')
      expect(await world.host.sh(`readlink /proc/${answerer?.pid}/ns/net /proc/self/ns/net | uniq | wc -l`)).toBe('1\n')
    }),
  )

  test(
    'refuses what is no query, and goes on',
    inWorld(async world => {
      const { web } = await startPair(world)
      const before = resolverProcesses(world)
      const header = (questions: number, flags = '0100') => `1234${flags}${questions.toString(16).padStart(4, '0')}`
      const question = '03776562000001 0001'.replace(' ', '')
      const refused: [what: string, query: Query, code: number][] = [
        ['two questions', { raw: `${header(2)}000000000000${question}${question}` }, codes.formerr],
        ['no question', { raw: `${header(0)}000000000000` }, codes.formerr],
        ['an answer in it', { raw: `${header(1)}000100000000${question}` }, codes.formerr],
        ['bytes behind it', { raw: `${header(1)}000000000000${question}00` }, codes.formerr],
        ['a pointer to itself', { raw: `${header(1)}000000000000c00c00010001` }, codes.formerr],
        ['a label without an end', { raw: `${header(1)}0000000000003f61` }, codes.formerr],
        ['a name of 300 bytes', { raw: `${header(1)}000000000000${'0161'.repeat(150)}0000010001` }, codes.formerr],
        [
          'two OPT records',
          { raw: `${header(1)}000000000002${question}${'0000290400000000000000'.repeat(2)}` },
          codes.formerr,
        ],
        ['an update', { name: 'web', flags: 0x2800 }, codes.notimp],
        ['a zone transfer', { name: 'web', type: 'AXFR', tcp: true }, codes.refused],
        ['the class CHAOS', { name: 'version.bind', type: 'TXT', klass: 3 }, codes.refused],
      ]
      const answers = await askFrom(
        world,
        'asker',
        refused.map(([, query]) => query),
      )
      expect(answers.map(({ code }, i) => [refused[i]?.[0], code])).toEqual(
        refused.map(([what, , code]) => [what, code]),
      )

      const silent = [{ raw: '1234' }, { raw: `${header(1, '8180')}000000000000${question}` }]
      for (const answer of await askFrom(
        world,
        'asker',
        silent.map(query => ({ ...query, timeoutMs: 500 })),
      ))
        expect(answer.timeout).toBe(true)
      expect((await askOne(world, 'asker', { name: 'web' })).values).toEqual([web])
      expect(resolverProcesses(world)).toEqual(before)
    }),
  )

  test(
    'survives ten thousand random packets and connections that say nothing',
    inWorld(async world => {
      const { web } = await startPair(world)
      const before = resolverProcesses(world)
      await world.host.exec(
        'nsenter',
        [`--net=/proc/${await pidOf(world, 'asker')}/ns/net`, process.execPath, '-e', floodScript()],
        {
          timeoutMs: 60_000,
        },
      )

      await eventually('it answers', async () => (await askOne(world, 'asker', { name: 'web' })).values?.[0] === web)
      expect((await askOne(world, 'asker', { name: 'web', tcp: true })).values).toEqual([web])
      expect(resolverProcesses(world)).toEqual(before)
      for (const { pid } of before) expect(pssOf(pid)).toBeLessThan(3072)
    }),
  )

  test(
    'lets no container keep the others from being answered',
    inWorld(async world => {
      const { web } = await startPair(world)
      const greedy = askFrom(
        world,
        'asker',
        Array.from({ length: 600 }, (_, i) => ({ name: `silent.n${i}.example.test`, id: i })),
      )
      await eventually('there is no room for more of it', async () => {
        const [last] = await askFrom(world, 'asker', [{ name: `silent.${Math.random()}.example.test`, timeoutMs: 300 }])
        return last?.code === codes.servfail
      })

      const answers = await askFrom(world, 'web', [{ name: 'web' }, { name: 'www.example.test' }])
      expect(answers.map(({ values }) => values)).toEqual([[web], ['203.0.113.1']])
      await greedy
    }),
  )

  test(
    'is back by itself when its answerer is killed, and with the next command when both are',
    inWorld(async world => {
      const { host, web } = await startPair(world)
      const [keeper, answerer] = resolverProcesses(world)
      process.kill(answerer?.pid ?? 0, 'SIGKILL')
      await eventually('another one answers', async () => {
        const [now, other] = resolverProcesses(world)
        return now?.pid === keeper?.pid && other !== undefined && other.pid !== answerer?.pid
      })
      expect((await askOne(world, 'asker', { name: 'web' })).values).toEqual([web])
      expect((await askOne(world, 'asker', { name: 'web', tcp: true })).values).toEqual([web])

      for (let i = 0; i < 2; i++) {
        process.kill(resolverProcesses(world)[0]?.pid ?? 0, 'SIGKILL')
        await eventually('both are gone', () => resolverProcesses(world).length === 0)
        await host.ok(['ps'])
        expect((await askOne(world, 'asker', { name: 'web' })).values).toEqual([web])
        expect((await askOne(world, 'web', { name: 'asker', tcp: true })).values).toHaveLength(1)
      }
      process.kill(resolverProcesses(world)[0]?.pid ?? 0, 'SIGKILL')
      await host.ok(['run', '-d', '--name', 'third', '--network', 'br', ...sleeper])
      expect((await askOne(world, 'asker', { name: 'third' })).values).toEqual([await world.addressOf('third')])
    }),
  )

  test(
    'ends with its last container, killed or cut off as that may be, and lets the namespaces go',
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      for (const name of ['one', 'two']) await world.ok(['run', '-d', '--name', name, '--network', 'br', ...sleeper])
      process.kill(await pidOf(world, 'one'), 'SIGKILL')
      await eventually(
        'its names are gone',
        async () => (await askOne(world, 'two', { name: 'one' })).code !== codes.ok,
      )
      const { signal } = await world.tsrun(['run', '--network', 'br', ...sleeper], {
        env: { ...world.env, TSRUN_FAULT: 'resolver:kill' },
      })
      expect(signal).toBe('SIGKILL')
      await world.ok(['rm', '-f', 'one', 'two'])
      expect(resolverProcesses(world)).toEqual([])
      expect(readdirSync(world.state)).not.toContain('dns')
    }),
  )
})

/** Kilobytes: what a process takes of memory, its part of what it shares included. */
function pssOf(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])
}
