// What containers ask for that is no container: passed on to whomever the host asks, from the host, and to nobody where the
// container must not get out.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { eventually, succeed } from '../helpers/command.ts'
import { askFrom, askOne, codes, resolverProcesses, serveDns, withResolvConf } from '../helpers/dns.ts'
import { plainEnvironment } from '../helpers/namespace.ts'
import { udpAsk } from '../helpers/udp.ts'
import { addresses, inWorld, type World } from '../helpers/world.ts'

const sleeper = ['busybox', 'sleep', '600']

/** A host that asks `servers`, with the network `br` and the container `asker` on it. */
async function startAsker(world: World, servers: readonly string[], flags: readonly string[] = []) {
  const host = withResolvConf(world, servers.map(server => `nameserver ${server}\n`).join(''))
  await world.ok(['network', 'create', '--subnet', '10.58.1.0/24', 'br'])
  await host.ok(['run', '-d', '--name', 'asker', '--network', 'br', ...flags, ...sleeper])
  return host
}

describe('a resolver on the host', () => {
  test(
    'is asked on its loopback, over UDP and TCP, under INPUT and FORWARD DROP, with port 53 of the host taken',
    inWorld(async world => {
      await world.host.sh(`nft -f - <<'EOF'
table inet strict {
  chain input { type filter hook input priority 0; policy drop; iif lo accept; ct state established accept; }
  chain forward { type filter hook forward priority 0; policy drop; }
}
EOF`)
      await world.rebase()
      const server = await serveDns(world.host, 53, ['127.0.0.53', addresses.host, addresses.host6])
      await startAsker(world, ['127.0.0.53'])

      const answer = await askOne(world, 'asker', { name: 'www.example.test', id: 77 })
      expect(answer).toMatchObject({ id: 77, code: codes.ok, values: ['203.0.113.53'], rest: 0 })
      expect(await askOne(world, 'asker', { name: 'www.example.test', tcp: true })).toMatchObject({
        values: ['203.0.113.53'],
      })
      expect(await askOne(world, 'asker', { name: 'no.such.name' })).toMatchObject({ code: codes.nxdomain })
      expect((await askOne(world, 'asker', { name: 'asker' })).values).toEqual([await world.addressOf('asker')])
      expect(server.names()).not.toContain('asker')
    }),
  )

  test(
    'gives long answers over TCP',
    inWorld(async world => {
      const server = await serveDns(world.host, 1, ['127.0.0.53'])
      await startAsker(world, ['127.0.0.53'])

      expect(await askOne(world, 'asker', { name: 'big.example.test', type: 'TXT' })).toMatchObject({
        flags: expect.stringContaining('tc'),
      })
      const whole = await askOne(world, 'asker', { name: 'big.example.test', type: 'TXT', tcp: true })
      expect(whole.values).toHaveLength(15)
      expect(server.queries().some(({ protocol }) => protocol === 'tcp')).toBe(true)
    }),
  )

  test(
    'is asked from a port and with an id of its own each time, and nothing but its answer is believed',
    inWorld(async world => {
      const server = await serveDns(world.host, 1, ['127.0.0.53'])
      await startAsker(world, ['127.0.0.53'])
      const queries = Array.from({ length: 100 }, (_, i) => ({ name: `n${i}.example.test`, id: i }))

      const answers = await askFrom(world, 'asker', queries)
      expect(answers.map(({ id, values, question }) => [id, values, question?.name])).toEqual(
        queries.map(({ id, name }) => [id, ['203.0.113.1'], name]),
      )
      expect(new Set(server.queries().map(({ from }) => from)).size).toBeGreaterThan(80)
      expect((await askOne(world, 'asker', { name: 'forged.example.test' })).values).toEqual(['203.0.113.1'])
    }),
  )

  test(
    'that is silent, sick or gone is followed by the next; without one the answer is SERVFAIL, and names go on',
    inWorld(async world => {
      await serveDns(world.host, 1, ['127.0.0.53'])
      await serveDns(world.host, 2, ['127.0.0.54'])
      await startAsker(world, ['127.0.0.52', '127.0.0.53', '127.0.0.54'])

      expect((await askOne(world, 'asker', { name: 'www.example.test' })).values).toEqual(['203.0.113.1'])
      const [silent, sick, name] = await askFrom(world, 'asker', [
        { name: 'silent.example.test' },
        { name: 'sick.example.test' },
        { name: 'asker' },
      ])
      expect(silent).toMatchObject({ code: codes.servfail, question: { name: 'silent.example.test' } })
      expect(sick).toMatchObject({ code: codes.servfail })
      expect(name?.values).toHaveLength(1)
    }),
  )

  test(
    'is another one as soon as resolv.conf says so',
    inWorld(async world => {
      await serveDns(world.host, 1, ['127.0.0.53'])
      await serveDns(world.host, 2, ['127.0.0.54'])
      const host = await startAsker(world, ['127.0.0.53'])
      expect((await askOne(world, 'asker', { name: 'www.example.test' })).values).toEqual(['203.0.113.1'])

      host.write('# changed\nsearch corp\nnameserver 127.0.0.54 # here\n')
      await eventually('the new server is asked', async () => {
        const { values } = await askOne(world, 'asker', { name: 'www.example.test' })
        return values[0] === '203.0.113.2'
      })
    }),
  )

  test(
    'on its loopback alone is reached from the default network as well, by its address only',
    inWorld(async world => {
      await serveDns(world.host, 1, ['127.0.0.53'])
      const host = withResolvConf(world, 'nameserver 127.0.0.53\n')
      await host.ok(['run', '-d', '--name', 'asker', ...sleeper])
      await host.ok(['run', '-d', '--name', 'web', ...sleeper])

      expect((await askOne(world, 'asker', { name: 'www.example.test' })).values).toEqual(['203.0.113.1'])
      expect(await askOne(world, 'asker', { name: 'web' })).toMatchObject({ code: codes.nxdomain })
    }),
  )
})

describe('--dns, --dns-search, --dns-option', () => {
  test(
    'name the servers that are asked instead of the host, the search list and the options',
    inWorld(async world => {
      const hosts = await serveDns(world.host, 1, ['127.0.0.53'])
      await serveDns(world.outside, 2, [addresses.server])
      const chosen = ['--dns', addresses.server, '--dns-search', 'example.test', '--dns-option', 'timeout:7']
      await startAsker(world, ['127.0.0.53'], chosen)

      expect((await askOne(world, 'asker', { name: 'www.example.test' })).values).toEqual(['203.0.113.2'])
      expect(hosts.names()).toEqual([])
      const text = await world.ok(['exec', 'asker', 'cat', '/etc/resolv.conf'])
      expect(text).toBe('nameserver 127.0.0.11\nsearch example.test\noptions timeout:7 ndots:0')
    }),
  )
})

describe('an internal network', () => {
  test(
    'has names and lets no query out, but to a server that is on it',
    inWorld(async world => {
      const server = await serveDns(world.host, 1, ['127.0.0.53'])
      const outside = await serveDns(world.outside, 2, [addresses.server])
      const host = withResolvConf(world, 'nameserver 127.0.0.53\n')
      await world.ok(['network', 'create', '--internal', '--subnet', '10.58.2.0/24', 'inner'])
      const run = (name: string, ...flags: string[]) =>
        host.ok(['run', '-d', '--name', name, '--network', 'inner', ...flags, ...sleeper])
      await run('asker')
      await run('web', '--dns', addresses.server)

      expect((await askOne(world, 'asker', { name: 'web' })).values).toEqual([await world.addressOf('web')])
      for (const name of ['asker', 'web']) {
        const answers = await askFrom(world, name, [
          { name: 'secret.example.test' },
          { name: 'secret.example.test', tcp: true },
          { name: '9.2.58.10.in-addr.arpa', type: 'PTR' },
        ])
        for (const answer of answers) expect(answer).toMatchObject({ code: codes.nxdomain, values: [] })
      }
      expect([...server.names(), ...outside.names()]).toEqual([])
    }),
  )
})

describe('a container', () => {
  test(
    'may serve port 53 on all its addresses',
    inWorld(async world => {
      await serveDns(world.host, 1, ['127.0.0.53'])
      await startAsker(world, ['127.0.0.53'])
      const [{ State }] = await world.json(['inspect', 'asker'])
      const script = `
        const udp = require('node:dgram').createSocket('udp4')
        udp.on('message', (data, from) => udp.send('own', from.port, from.address))
        udp.bind(53, '0.0.0.0', () => require('node:net').createServer().listen(53, '0.0.0.0', () => console.log('bound')))`
      const server = world.host.start('nsenter', [`--net=/proc/${State.Pid}/ns/net`, process.execPath, '-e', script])
      await server.waitFor(/bound/)

      expect(await udpAsk(world.host, await world.addressOf('asker'), 53, 'ask')).toBe('own')
      for (const tcp of [false, true])
        expect((await askOne(world, 'asker', { name: 'asker', tcp })).values).toEqual([await world.addressOf('asker')])
    }),
  )

  test(
    'resolves with glibc and with musl',
    inWorld(async world => {
      await serveDns(world.host, 1, ['127.0.0.53'])
      const host = await startAsker(world, ['127.0.0.53'])
      const binds = ['/lib', '/lib64', '/usr'].flatMap(path => ['-v', `${path}:${path}:ro`])
      await host.ok(['run', '-d', '--name', 'glibc', '--network', 'br', ...binds, ...sleeper])
      const program = join(world.dir, 'resolve')
      writeFileSync(`${program}.c`, musl)
      await succeed(['musl-gcc', '-static', '-o', program, `${program}.c`], { env: plainEnvironment })
      await host.ok(['run', '-d', '--name', 'musl', '--network', 'br', '-v', `${program}:/resolve:ro`, ...sleeper])

      const asker = await world.addressOf('asker')
      expect(await world.ok(['exec', 'glibc', '/usr/bin/getent', 'ahosts', 'asker'])).toContain(asker)
      expect(await world.ok(['exec', 'glibc', '/usr/bin/getent', 'ahosts', 'www.example.test'])).toContain(
        '203.0.113.1',
      )
      expect(await world.ok(['exec', 'glibc', '/usr/bin/getent', 'hosts', asker])).toContain('asker.br')
      expect(await world.ok(['exec', 'musl', '/resolve', 'asker'])).toBe(asker)
      expect(await world.ok(['exec', 'musl', '/resolve', 'www.example.test'])).toBe('203.0.113.1')
    }),
  )

  test(
    'that shares the network of another shares its names',
    inWorld(async world => {
      await serveDns(world.host, 1, ['127.0.0.53'])
      const host = await startAsker(world, ['127.0.0.53'])
      await host.ok(['run', '-d', '--name', 'guest', '--network', 'container:asker', ...sleeper])

      expect(await world.ok(['exec', 'guest', 'nslookup', 'asker'])).toContain(await world.addressOf('asker'))
      await world.ok(['rm', '-f', 'guest'])
      expect(await world.ok(['exec', 'asker', 'nslookup', 'asker'])).toContain(await world.addressOf('asker'))
    }),
  )

  test(
    'gets names with its first network that has them, and loses those of a network that it leaves',
    inWorld(async world => {
      await serveDns(world.host, 1, ['127.0.0.53'])
      const host = withResolvConf(world, `nameserver ${addresses.host}\nnameserver 127.0.0.53\n`)
      await world.ok(['network', 'create', 'br'])
      await host.ok(['run', '-d', '--name', 'asker', ...sleeper])
      await host.ok(['run', '-d', '--name', 'web', '--network', 'br', ...sleeper])
      await host.ok(['network', 'connect', '--alias', 'late', 'br', 'asker'])

      expect((await askOne(world, 'asker', { name: 'web' })).values).toEqual([await world.addressOf('web')])
      expect((await askOne(world, 'web', { name: 'late' })).values).toEqual([await world.addressOf('asker', 'br')])
      await host.ok(['network', 'disconnect', 'br', 'asker'])
      expect(await askOne(world, 'asker', { name: 'web' })).toMatchObject({ code: codes.nxdomain })
      expect(await askOne(world, 'web', { name: 'late' })).toMatchObject({ code: codes.nxdomain })
      expect(readFileSync(`${world.state}/containers/${await idOf(world, 'asker')}/resolv.conf`, 'utf8')).toContain(
        '127.0.0.11',
      )
      expect(resolverProcesses(world)).toHaveLength(2)
    }),
  )
})

async function idOf(world: World, name: string): Promise<string> {
  const [{ Id }] = await world.json(['inspect', name])
  return Id
}

const musl = `
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	char text[64];
	int error = getaddrinfo(argv[argc - 1], NULL, &hints, &found);
	if (error) {
		puts(gai_strerror(error));
		return 1;
	}
	puts(inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, text, sizeof(text)));
	return 0;
}
`
