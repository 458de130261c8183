// nfnetlink and libnftables under Node, in a namespace of the test's own; the witness is `nft`.

import { execFileSync } from 'node:child_process'
import { closeSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { errno } from '../../src/ffi/errno.ts'
import { createNetns, runInNetns } from '../../src/kernel/netns.ts'
import {
  addElement,
  addressField,
  deleteElement,
  dumpElements,
  getElement,
  nameField,
  parseElements,
  portField,
  protocolField,
  subnetField,
} from '../../src/kernel/nftables/elements.ts'
import { runNftScript } from '../../src/kernel/nftables/libnftables.ts'
import { Nfnetlink } from '../../src/kernel/nftables/nfnetlink.ts'
import { listBaseChains, listRules, listTables } from '../../src/kernel/nftables/ruleset.ts'
import { parseAddress, parsePrefix } from '../../src/lib/ip.ts'

let fd = -1
let socket: Nfnetlink

const script = `flush ruleset
table inet t {
  set names { type ifname; }
  set subnets { type ipv4_addr; flags interval; }
  map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
  chain fw { type filter hook forward priority 3; policy drop; ct state established accept; counter drop comment "end"; }
}`

beforeAll(() => {
  const made = createNetns()
  made.socket.close()
  fd = made.fd
  socket = runInNetns(fd, () => new Nfnetlink())
})

afterAll(() => {
  socket.close()
  closeSync(fd)
})

beforeEach(() => {
  runInNetns(fd, () => runNftScript(script))
})

function nft(...args: string[]): string {
  return runInNetns(fd, () => execFileSync('nft', args, { encoding: 'utf8' }))
}

const port = (number: number, target = '10.0.0.2') => ({
  set: 'ports',
  key: [protocolField('tcp'), portField(number)],
  data: [addressField(parseAddress(target)), portField(8000)],
  comment: 'tsrun:0123 web',
})

describe('transaction()', () => {
  test('adds elements as nft would, and deletes them', () => {
    const subnet = { set: 'subnets', key: [subnetField(parsePrefix('10.1.0.0/16'))], comment: 'a subnet' }
    const last = { set: 'subnets', key: [subnetField(parsePrefix('255.255.0.0/16'))] }
    const name = { set: 'names', key: [nameField('br-0123456789ab')] }
    const all = [port(80), subnet, last, name]
    expect(socket.transaction(all.map(element => addElement('t', element, true)))).toEqual([])
    const listed = nft('list', 'table', 'inet', 't')
    expect(listed).toContain('tcp . 80 comment "tsrun:0123 web" : 10.0.0.2 . 8000')
    expect(listed).toContain('10.1.0.0/16 comment "a subnet"')
    expect(listed).toContain('255.255.0.0/16')
    expect(listed).toContain('"br-0123456789ab"')
    expect(parseElements(socket.request(getElement('t', subnet)))).toMatchObject([{ comment: 'a subnet' }])
    expect(socket.transaction(all.map(element => deleteElement('t', element)))).toEqual([])
    expect(nft('list', 'table', 'inet', 't')).not.toContain('elements')
  })

  test('does all or nothing, and says which messages were refused', () => {
    expect(socket.transaction([addElement('t', port(80), true)])).toEqual([])
    const messages = [81, 80, 82].map(number => addElement('t', port(number), true))
    const failures = socket.transaction([...messages, deleteElement('t', port(99))])
    expect(failures.map(failure => [failure.index, failure.errno])).toEqual([
      [1, errno.EEXIST],
      [3, errno.ENOENT],
    ])
    expect(parseElements(socket.dump(dumpElements('t', 'ports')))).toHaveLength(1)
  })

  test('takes equal data again unless it is exclusive, and never other data', () => {
    socket.transaction([addElement('t', port(80), true)])
    expect(socket.transaction([addElement('t', port(80), false)])).toEqual([])
    const [failure] = socket.transaction([addElement('t', port(80, '10.0.0.3'), false)])
    expect([errno.EBUSY, errno.EEXIST]).toContain(failure?.errno)
  })

  test('is refused when the rules changed since the generation it was made for', () => {
    const generation = socket.generation()
    nft('add', 'element', 'inet', 't', 'names', '{ "x" }')
    expect(socket.transaction([addElement('t', port(80), true)], generation)).toMatchObject([{ index: -1, errno: 85 }])
    expect(socket.transaction([addElement('t', port(80), true)], socket.generation())).toEqual([])
  })

  test('carries thousands of elements, and as many refusals', () => {
    const messages = Array.from({ length: 5000 }, (_, i) => addElement('t', port(1000 + i), true))
    expect(socket.transaction(messages)).toEqual([])
    expect(parseElements(socket.dump(dumpElements('t', 'ports')))).toHaveLength(5000)
    expect(socket.transaction(messages)).toHaveLength(5000)
  })
})

test('listBaseChains() and listRules() see what nft made', () => {
  expect(listTables(socket, 1)).toEqual(['t'])
  const [chain] = listBaseChains(socket)
  expect(chain).toEqual({ family: 1, table: 't', name: 'fw', hook: 2, priority: 3, drops: true, use: 2 })
  if (chain === undefined) return
  expect(listRules(socket, chain).map(rule => [rule.verdict, rule.comment])).toEqual([
    [undefined, undefined],
    [{ kind: 'drop' }, 'end'],
  ])
})

test('runNftScript() throws what nft says', () => {
  expect(() => runInNetns(fd, () => runNftScript('create table inet t'))).toThrow(/File exists/)
  expect(() => runInNetns(fd, () => runNftScript('nonsense'))).toThrow(/syntax error/)
})
