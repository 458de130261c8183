// IPAM drivers of others: packages beside tsrun, and objects that a program brings along.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { addresses, dist, inWorld, pageOf, type World } from '../helpers/world.ts'

const example = fileURLToPath(new URL('../../examples/ipam-driver/', import.meta.url))

/** Where `npm install --prefix ROOT/drivers` puts a driver's package. */
function folderOf(world: World, name: string): string {
  return join(world.root, 'drivers/node_modules', `tsrun-ipam-${name}`)
}

/** Installs the example. @returns the folder that the hosts share, with one address that another host has */
function install(world: World): string {
  cpSync(example, folderOf(world, 'shared-folder'), { recursive: true })
  const shared = join(world.dir, 'shared')
  mkdirSync(shared)
  writeFileSync(join(shared, '10.60.0.100'), 'another host')
  return shared
}

function create(shared: string, ...more: string[]): string[] {
  const driver = ['--ipam-driver', 'shared-folder', '--ipam-opt', `folder=${shared}`, '--ipam-opt', 'first=100']
  return ['network', 'create', '--subnet', '10.60.0.0/24', ...driver, ...more, 'br']
}

describe('an IPAM driver in a package of its own', () => {
  test(
    'chooses the addresses: those of other hosts are left alone, a restart keeps them, the end gives them back',
    inWorld(async world => {
      const shared = install(world)
      await world.ok(create(shared, '--ipam-opt', 'last=102'))
      await world.serve('a', ['-net', 'br'])
      await world.serve('b', ['-net', 'br'])

      expect([await world.addressOf('a'), await world.addressOf('b')]).toEqual(['10.60.0.101', '10.60.0.102'])
      expect((await world.host.curl('http://10.60.0.102/')).body).toBe(pageOf('b', '10.60.0.1'))
      expect(readdirSync(shared).sort()).toEqual(['10.60.0.100', '10.60.0.101', '10.60.0.102'])
      expectError(
        await world.tsrun('run --rm -net br busybox true'.split(' ')),
        125,
        /cannot give an address: all addresses from 100 to 102 are taken/,
      )
      expectError(
        await world.tsrun('run --rm -net br --ip 10.60.0.100 busybox true'.split(' ')),
        125,
        /10\.60\.0\.100 is taken/,
      )
      await world.ok(['restart', '-t', '0', 'b'])
      expect(await world.addressOf('b')).toBe('10.60.0.102')
      const [{ IPAM }] = await world.json(['network', 'inspect', 'br'])
      expect([IPAM.Driver, IPAM.Options]).toEqual(['shared-folder', { folder: shared, first: '100', last: '102' }])

      await world.ok(['rm', '-f', 'a'])
      expect(readdirSync(shared).sort()).toEqual(['10.60.0.100', '10.60.0.102'])
      await world.ok(['rm', '-f', 'b'])
      // A static address is the container's from its creation to its removal.
      await world.ok('create --name c -net br --ip 10.60.0.101 busybox true'.split(' '))
      expect(readFileSync(join(shared, '10.60.0.101'), 'utf8')).toMatch(/[0-9a-f]{64}$/)
      await world.ok(['rm', 'c'])
      expect(readdirSync(shared)).toEqual(['10.60.0.100'])
      await world.ok(['network', 'rm', 'br'])
      rmSync(join(world.root, 'drivers'), { recursive: true })
    }),
  )

  test.each(['address:fail', 'address:kill', 'starting record:kill', 'go:kill', 'running record:fail'])(
    'gets its addresses back after %s',
    fault =>
      inWorld(async world => {
        const shared = install(world)
        await world.ok(create(shared))

        const { code } = await world.tsrun('run --name a -net br busybox true'.split(' '), {
          env: { ...world.env, TSRUN_FAULT: fault },
        })
        expect(code).not.toBe(0)
        await world.tsrun(['rm', '-f', 'a'])

        expect(readdirSync(shared)).toEqual(['10.60.0.100'])
        rmSync(join(world.root, 'drivers'), { recursive: true })
      })(),
  )

  test(
    'that has gone leaves networks whose containers end and which can be removed, but not used',
    inWorld(async world => {
      const shared = install(world)
      await world.ok(create(shared))
      await world.ok('run -d --name a -net br busybox sleep 1000'.split(' '))
      rmSync(join(world.root, 'drivers'), { recursive: true })

      expectError(
        await world.tsrun('run --rm -net br busybox true'.split(' ')),
        125,
        /no IPAM driver "shared-folder"\n {2}hint: there are file .*npm install --prefix .*tsrun-ipam-NAME/,
      )
      await world.ok(['rm', '-f', 'a'])
      await world.ok(['network', 'rm', 'br'])
    }),
  )

  test(
    'checks its own options, and one that is none is refused; nothing is changed',
    inWorld(async world => {
      const shared = install(world)
      const write = (name: string, code: string) => {
        mkdirSync(folderOf(world, name), { recursive: true, mode: 0o700 })
        writeFileSync(join(folderOf(world, name), 'package.json'), '{"type":"module"}')
        writeFileSync(join(folderOf(world, name), 'index.js'), code)
      }
      write('empty', 'export default () => ({ name: "other", requestAddress: 1 })')
      write('half', 'export default () => ({ name: "half", gives: "leases", validate: n => n })')
      const before = await world.snapshot()

      const refused: [string[], RegExp][] = [
        [create(join(shared, 'none')), /cannot create network "br": ".*none" is no folder\n {2}hint: name a folder/],
        [create(shared, '--ipam-opt', 'colour=red'), /unknown option "colour"/],
        [create(shared, '--ipam-opt', 'last=7'), /100 to 7 is no range/],
        [['network', 'create', '--ipam-opt', 'a=b', 'x'], /the IPAM driver "file" knows no option "a"/],
        [['network', 'create', '--ipam-driver', 'null', '--ipam-opt', 'a=b', 'x'], /"null" knows no option "a"/],
        [
          ['network', 'create', '--ipam-driver', 'empty', 'x'],
          /it is no IPAM driver: its name is "other", gives is none of .*, validate is no function, requestAddress is no function, .*belong together/,
        ],
        [['network', 'create', '--ipam-driver', 'half', 'x'], /openLease is no function/],
        [['network', 'create', '--ipam-driver', '../x', 'x'], /no IPAM driver "\.\.\/x"/],
      ]
      for (const [command, message] of refused) expectError(await world.tsrun(command), 1, message)

      expect(await world.changesSince(before)).toEqual([])
      rmSync(join(world.root, 'drivers'), { recursive: true })
    }),
  )
})

describe('an IPAM driver of a program', () => {
  test(
    'is used by its engine: Engine.open({ ipamDrivers })',
    inWorld(async world => {
      const program = join(world.dir, 'work', 'program.mjs')
      writeFileSync(
        program,
        `import { Engine } from ${JSON.stringify(join(dist, 'lib/index.js'))}
        const asked = []
        const always = () => ({
          name: 'always', gives: 'pools',
          validate: network => network,
          planPools: async () => [{ subnet: '10.61.0.0/24' }],
          requestAddress: async ({ wanted = '10.61.0.77' }) => { asked.push('request'); return wanted },
          releaseAddress: async ({ address }) => { asked.push('release ' + address) },
        })
        const libraryDir = ${JSON.stringify(dist)}
        const engine = await Engine.open({ ipamDrivers: { always }, libraryDir })
        const { pools } = await engine.networks.create({ name: 'br', pools: [], ipamDriver: 'always' })
        const command = ['sh', '-c', 'ip -o -4 addr show eth0; ping -c 1 -W 2 ${addresses.neighbour}']
        const job = await engine.containers.run({ image: 'busybox', command, networks: [{ network: 'br' }], autoRemove: true })
        for await (const chunk of job.stdout) process.stdout.write(chunk)
        const code = await job.wait()
        await engine.networks.remove('br')
        const clash = await Engine.open({ ipamDrivers: { null: always }, libraryDir }).then(() => 'opened', e => e.message)
        console.log(JSON.stringify({ code, asked, subnet: pools[0].subnet, clash }))
        await engine.close()`,
      )

      const { stdout, stderr } = await world.host.tryExec(process.execPath, [program], { env: world.env })

      expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''), stderr).toEqual({
        code: 0,
        asked: ['request', 'release 10.61.0.77'],
        subnet: '10.61.0.0/24',
        clash: 'cannot add the IPAM driver "null": tsrun has one of that name',
      })
      expect(stdout).toContain('inet 10.61.0.77/24')
      rmSync(program)
    }),
  )
})
