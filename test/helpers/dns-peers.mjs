// Both ends of DNS for the tests, with a codec of their own, run inside a network namespace:
//
//   node dns-peers.mjs ask ADDRESS  < JSON queries, one a line   > JSON answers, one a line, in the same order
//   node dns-peers.mjs serve LAST ADDRESS...     a server on port 53 of each; prints each query as a line of JSON
//
// The server knows example.test: any name there is 203.0.113.LAST, without IPv6; `big` has 3000 bytes of TXT that only TCP
// carries, `forged` is answered wrongly four times first, `silent` never, `sick` with SERVFAIL. All else does not exist.

import { createSocket } from 'node:dgram'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'

export const types = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  AXFR: 252,
  ANY: 255,
}
const typeNames = Object.fromEntries(Object.entries(types).map(([name, number]) => [number, name]))

function encodeName(name) {
  const labels = name.split('.').filter(label => label !== '')
  return Buffer.concat([
    ...labels.map(l => Buffer.concat([Buffer.from([l.length]), Buffer.from(l, 'latin1')])),
    Buffer.of(0),
  ])
}

function decodeName(bytes, at) {
  const labels = []
  let end
  for (let jumps = 0; jumps < 20; ) {
    const length = bytes[at]
    if (length >= 0xc0) {
      end ??= at + 2
      at = ((length & 0x3f) << 8) | bytes[at + 1]
      jumps++
      continue
    }
    at += 1
    if (length === 0) return [labels.join('.'), end ?? at]
    labels.push(bytes.subarray(at, at + length).toString('latin1'))
    at += length
  }
  throw new Error('a loop of names')
}

function u16(...values) {
  const bytes = Buffer.alloc(values.length * 2)
  for (const [i, value] of values.entries()) bytes.writeUInt16BE(value & 0xffff, i * 2)
  return bytes
}

export function encodeQuery({ id = 0x1234, name = '', type = 'A', klass = 1, flags = 0x0100, edns, version = 0, raw }) {
  if (raw !== undefined) return Buffer.from(raw, 'hex')
  const opt = edns === undefined ? [] : [Buffer.of(0), u16(types.OPT, edns, version, 0, 0)]
  const number = typeof type === 'number' ? type : types[type]
  return Buffer.concat([
    u16(id, flags, 1, 0, 0, opt.length === 0 ? 0 : 1),
    encodeName(name),
    u16(number, klass),
    ...opt,
  ])
}

export function decode(bytes) {
  const [id, flags, questions, ...counts] = [0, 2, 4, 6, 8, 10].map(at => bytes.readUInt16BE(at))
  let at = 12
  let question
  for (let i = 0; i < questions; i++) {
    const [name, end] = decodeName(bytes, at)
    question = { name, type: bytes.readUInt16BE(end) }
    at = end + 4
  }
  const records = []
  for (let i = 0; i < counts[0] + counts[1] + counts[2]; i++) {
    const [name, end] = decodeName(bytes, at)
    const type = bytes.readUInt16BE(end)
    const length = bytes.readUInt16BE(end + 8)
    const data = bytes.subarray(end + 10, end + 10 + length)
    const ttl = bytes.readUInt32BE(end + 4)
    records.push({
      name,
      type: typeNames[type] ?? type,
      ttl,
      size: bytes.readUInt16BE(end + 2),
      data: show(type, data, bytes, end + 10),
    })
    at = end + 10 + length
  }
  const answers = records.filter(record => record.type !== 'OPT')
  const opt = records.find(record => record.type === 'OPT')
  return {
    id,
    code: (flags & 15) | (opt === undefined ? 0 : (opt.ttl >>> 24) << 4),
    flags: [
      [0x8000, 'qr'],
      [0x400, 'aa'],
      [0x200, 'tc'],
      [0x100, 'rd'],
      [0x80, 'ra'],
    ]
      .filter(([bit]) => flags & bit)
      .map(([, n]) => n)
      .join(' '),
    question,
    answers,
    values: answers.map(record => record.data),
    edns: opt?.size,
    length: bytes.length,
    rest: bytes.length - at,
  }
}

function show(type, data, bytes, at) {
  if (type === types.A) return data.join('.')
  if (type === types.PTR) return decodeName(bytes, at)[0]
  if (type === types.AAAA) return Array.from({ length: 8 }, (_, i) => data.readUInt16BE(i * 2).toString(16)).join(':')
  return data.toString('latin1')
}

/** One UDP socket a query; TCP queries one connection each, or several messages on one with `more`. */
function askUdp(server, bytes, timeoutMs) {
  return new Promise((resolve, reject) => {
    const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4')
    const end = value => {
      clearTimeout(timer)
      socket.close()
      resolve(value)
    }
    const timer = setTimeout(() => end({ timeout: true }), timeoutMs)
    socket.on('error', error => end({ error: error.code }))
    socket.on('message', (message, from) => end({ ...decode(message), from: `${from.address}:${from.port}` }))
    socket.connect(53, server, error => (error ? reject(error) : socket.send(bytes)))
  })
}

function askTcp(server, messages, timeoutMs) {
  return new Promise(resolve => {
    const answers = []
    let buffer = Buffer.alloc(0)
    const socket = connect(53, server, () => {
      for (const bytes of messages) socket.write(Buffer.concat([u16(bytes.length), bytes]))
    })
    const end = extra => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ ...answers[0], all: answers, ...extra })
    }
    const timer = setTimeout(() => end({ timeout: true }), timeoutMs)
    socket.on('error', error => end({ error: error.code }))
    socket.on('close', () => end({}))
    socket.on('data', data => {
      buffer = Buffer.concat([buffer, data])
      while (buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16BE(0)) {
        answers.push(decode(buffer.subarray(2, 2 + buffer.readUInt16BE(0))))
        buffer = buffer.subarray(2 + buffer.readUInt16BE(0))
      }
      if (answers.length === messages.length) end({})
    })
  })
}

async function ask(server) {
  const queries = []
  for await (const line of createInterface({ input: process.stdin })) queries.push(JSON.parse(line))
  const answers = await Promise.all(
    queries.map(query => {
      const timeoutMs = query.timeoutMs ?? 8000
      if (query.tcp) return askTcp(server, [query, ...(query.more ?? [])].map(encodeQuery), timeoutMs)
      return askUdp(server, encodeQuery(query), timeoutMs)
    }),
  )
  for (const answer of answers) console.log(JSON.stringify(answer))
}

function answerTo(bytes, last, isTcp) {
  const { id, question } = decode(bytes)
  const inside = question.name.toLowerCase().endsWith('example.test')
  const label = question.name.toLowerCase().split('.')[0]
  let code = inside ? 0 : 3
  let flags = 0x8180
  const records = []
  if (label === 'sick') code = 2
  else if (label === 'big' && question.type === types.TXT) {
    if (!isTcp) flags |= 0x200
    else
      for (let i = 0; i < 15; i++) records.push([types.TXT, Buffer.concat([Buffer.of(200), Buffer.alloc(200, 97 + i)])])
  } else if (inside && question.type === types.A) records.push([types.A, Buffer.of(203, 0, 113, last)])
  const head = u16(id, flags | code, 1, records.length, 0, 0)
  const asked = bytes.subarray(12, decodeName(bytes, 12)[1] + 4)
  const data = records.map(([type, value]) => Buffer.concat([u16(0xc00c, type, 1, 0, 60, value.length), value]))
  return Buffer.concat([head, asked, ...data])
}

/** Four wrong answers: another id, another question, a query, another type. */
function forgeries(answer) {
  const change = (at, value) => {
    const copy = Buffer.from(answer)
    copy[at] = copy[at] ^ value
    copy[copy.length - 1] = 66
    return copy
  }
  const type = decodeName(answer, 12)[1] + 1
  return [change(1, 1), change(13, 3), change(2, 0x80), change(type, 12)]
}

function serve(last, addresses) {
  const tell = (bytes, protocol, from) => console.log(JSON.stringify({ ...decode(bytes).question, protocol, from }))
  for (const address of addresses) {
    const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    udp.on('message', (bytes, from) => {
      tell(bytes, 'udp', from.port)
      const answer = answerTo(bytes, last, false)
      const label = decode(bytes).question.name.split('.')[0].toLowerCase()
      if (label === 'silent') return
      const all = label === 'forged' ? [...forgeries(answer), answer] : [answer]
      for (const message of all) udp.send(message, from.port, from.address)
    })
    udp.bind(53, address)
    createServer(socket => {
      socket.on('error', () => {})
      socket.on('data', data => {
        tell(data.subarray(2), 'tcp', socket.remotePort)
        const answer = answerTo(data.subarray(2), last, true)
        socket.end(Buffer.concat([u16(answer.length), answer]))
      })
    }).listen(53, address)
  }
  setTimeout(() => console.log('{"ready":true}'), 100)
}

const [mode, ...rest] = process.argv.slice(2)
if (mode === 'ask') await ask(rest[0])
if (mode === 'serve') serve(Number(rest[0]), rest.slice(1))
