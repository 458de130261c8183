// Both ends of proxied connections, for proxy.test.ts, which starts this inside a network namespace:
// `node proxy-peers.mjs SCENARIO` plays it and prints what happened as JSON. The client's end is [::1]:8080, where the monitor
// listens; the server's is 127.0.0.1:9000, where it carries what arrives. PORT in the environment names another port.
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const PORT = Number(process.env.PORT ?? 8080)
const megabyte = Buffer.alloc(1 << 20)
for (let i = 0; i < megabyte.length; i += 4) megabyte.writeUInt32LE((i * 2654435761) >>> 0, i)
const BULK_MEGABYTES = 64

async function serve(onConnection) {
  const server = createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', () => {})
    onConnection(socket)
  })
  await new Promise(resolve => server.listen(9000, '127.0.0.1', resolve))
  return server
}

/** A client; what it has received and how it ended are in its fields. */
function open(port = PORT) {
  const socket = connect({ port, host: '::1', allowHalfOpen: true })
  const client = { socket, received: [], ended: false, error: undefined }
  socket.on('data', chunk => client.received.push(chunk))
  socket.on('end', () => {
    client.ended = true
  })
  socket.on('error', error => {
    client.error = error.code
  })
  client.closed = new Promise(resolve => socket.on('close', resolve))
  client.text = () => Buffer.concat(client.received).toString()
  return client
}

async function until(condition) {
  const deadline = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not true: ${condition}`)
    await sleep(5)
  }
}

/** Writes all of it, no faster than it is taken. @returns its hash */
async function pour(socket) {
  const hash = createHash('sha256')
  for (let i = 0; i < BULK_MEGABYTES; i++) {
    const chunk = Buffer.from(megabyte)
    chunk.writeUInt32LE(i, 0)
    hash.update(chunk)
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
  socket.end()
  return hash.digest('hex')
}

/** Reads to the end, with a pause now and then. @returns hash, and how much memory the monitor had at the most */
async function sip(socket) {
  const hash = createHash('sha256')
  let bytes = 0
  let pauses = 0
  let residentKib = 0
  for await (const chunk of socket) {
    hash.update(chunk)
    bytes += chunk.length
    if (bytes > (pauses * BULK_MEGABYTES * (1 << 20)) / 40) {
      pauses++
      await sleep(25)
      residentKib = Math.max(residentKib, monitorKib())
    }
  }
  return { hash: hash.digest('hex'), bytes, residentKib }
}

function monitorKib() {
  const status = readFileSync(`/proc/${process.env.MONITOR}/status`, 'utf8')
  return Number(/RssAnon:\s+(\d+)/.exec(status)?.[1])
}

const scenarios = {
  async echo() {
    const server = await serve(socket => socket.pipe(socket))
    const client = open()
    client.socket.write('hello')
    await until(() => client.text() === 'hello')
    client.socket.end(' world')
    await client.closed
    server.close()
    return { text: client.text(), ended: client.ended }
  },

  /** Each side closes one direction and goes on with the other. */
  async halfClose() {
    let heard = ''
    let answer = () => {}
    const server = await serve(socket => {
      socket.on('data', chunk => {
        heard += chunk
      })
      socket.on('end', () => answer(socket))
      if (process.argv[3] === 'server') socket.end('done already')
      else answer = () => socket.end(`you said: ${heard}`)
    })
    const client = open()
    if (process.argv[3] === 'server') {
      await until(() => client.ended)
      client.socket.write('still ')
      await sleep(50)
    }
    client.socket.end('here')
    await client.closed
    await until(() => heard.endsWith('here'))
    server.close()
    return { heard, text: client.text(), error: client.error }
  },

  async bulkDown() {
    let sent
    const server = await serve(socket => {
      socket.resume()
      sent = pour(socket)
    })
    const client = connect({ port: PORT, host: '::1', allowHalfOpen: true })
    const before = monitorKib()
    const got = await sip(client)
    client.end()
    server.close()
    return { same: (await sent) === got.hash, bytes: got.bytes, grewKib: got.residentKib - before }
  },

  async bulkUp() {
    let got
    const server = await serve(socket => {
      got = sip(socket).then(result => {
        socket.end('thanks')
        return result
      })
    })
    const client = open()
    const before = monitorKib()
    const sent = await pour(client.socket)
    await client.closed
    const { hash, bytes, residentKib } = await got
    server.close()
    return { same: sent === hash, bytes, grewKib: residentKib - before, text: client.text() }
  },

  /** Many at once, each with its own text. */
  async many() {
    const count = Number(process.argv[3])
    const server = await serve(socket => socket.pipe(socket))
    const clients = Array.from({ length: count }, () => open())
    const texts = clients.map((_, i) => `client ${i} `.repeat(500))
    await Promise.all(
      clients.map(async (client, i) => {
        client.socket.end(texts[i])
        await client.closed
      }),
    )
    server.close()
    return { right: clients.filter((client, i) => client.text() === texts[i]).length }
  },

  async refused() {
    const client = open()
    client.socket.write('anybody?')
    await client.closed
    return { error: client.error, text: client.text() }
  },

  /** The server breaks off instead of closing: nobody may take that for a regular end. */
  async reset() {
    const server = await serve(socket => {
      socket.once('data', () => {
        socket.write('some', () => setTimeout(() => socket.resetAndDestroy(), 50))
      })
    })
    const client = open()
    client.socket.write('go')
    await client.closed
    server.close()
    return { error: client.error, text: client.text() }
  },

  /** Connections that end in every way there is, at random moments, under load. */
  async chaos() {
    const rough = socket => {
      const act = Math.random()
      setTimeout(() => {
        if (act < 0.4) socket.resetAndDestroy()
        else if (act < 0.6) socket.destroy()
        else if (act < 0.9) socket.end('bye')
        else socket.pause()
      }, Math.random() * 60)
    }
    const sockets = new Set()
    const server = await serve(socket => {
      sockets.add(socket)
      socket.write(Buffer.alloc(Math.random() * 300_000))
      if (Math.random() < 0.5) socket.resume()
      rough(socket)
    })
    for (let round = 0; round < 10; round++) {
      const clients = Array.from({ length: 60 }, () => open())
      for (const { socket } of clients) {
        socket.write(Buffer.alloc(Math.random() * 300_000))
        rough(socket)
      }
      await sleep(100)
      for (const { socket } of clients) socket.destroy()
      for (const socket of sockets) socket.destroy()
    }
    server.close()
    return {}
  },

  /** A client that takes nothing, of a server that never stops; told when it is stuck, it stays until stdin ends. */
  async stuck() {
    const server = await serve(socket => {
      const more = () => {
        while (socket.write(megabyte));
      }
      socket.on('drain', more)
      more()
    })
    const socket = connect({ port: PORT, host: '::1' })
    socket.on('error', () => {})
    await once(socket, 'connect')
    await sleep(300)
    console.log('stuck')
    process.stdin.resume()
    await once(process.stdin, 'end')
    socket.destroy()
    server.close()
    process.exit()
  },

  /** Holds a connection; prints how it ended. */
  async hold() {
    const server = await serve(socket => socket.write('welcome'))
    const client = open()
    await until(() => client.text() === 'welcome')
    console.log('held')
    process.stdin.resume()
    await Promise.race([client.closed, until(() => client.ended || client.error !== undefined)])
    server.close()
    return { text: client.text(), ended: client.ended, error: client.error }
  },

  async udp() {
    const server = createSocket('udp4')
    server.on('message', (data, from) =>
      server.send(`${from.port} ${data.length} ${data.subarray(0, 20)}`, from.port, from.address),
    )
    await new Promise(resolve => server.bind(9000, '127.0.0.1', resolve))
    const count = Number(process.argv[3])
    const clients = Array.from({ length: count }, () => createSocket('udp6'))
    const answers = []
    // Not all at once: a socket's buffer holds some two hundred datagrams.
    for (let i = 0; i < count; i += 50)
      answers.push(...(await Promise.all(clients.slice(i, i + 50).map((client, n) => ask(client, `from ${i + n}`)))))
    const again = await Promise.all(clients.slice(-3).map(client => ask(client, 'again')))
    const large = await ask(clients[count - 1], 'x'.repeat(60_000))
    const empty = await ask(clients[count - 1], '')
    for (const client of [...clients, server]) client.close()
    const ports = answers.map(answer => answer.split(' ')[0])
    return {
      right: answers.filter((answer, i) => answer.endsWith(` from ${i}`)).length,
      sources: new Set(ports).size,
      kept: again.filter((answer, i) => answer.startsWith(`${ports[count - 3 + i]} `)).length,
      large: large.split(' ')[1],
      empty: empty.split(' ')[1],
    }
  },

  /** A server that comes after the first datagram; and one that answers from the address it was asked at. */
  async udpLate() {
    const client = createSocket('udp6')
    const before = await ask(client, 'too early', '::1', 300)
    const server = createSocket('udp4')
    server.on('message', (data, from) => server.send(data, from.port, from.address))
    await new Promise(resolve => server.bind(9000, '127.0.0.1', resolve))
    const after = await ask(client, 'now')
    const second = createSocket('udp6')
    await new Promise(resolve => second.connect(8053, 'fd00::2', resolve))
    const fromSecondAddress = await new Promise(resolve => {
      second.once('message', data => resolve(data.toString()))
      second.send('you there')
      setTimeout(() => resolve('no answer'), 2000)
    })
    for (const socket of [client, server, second]) socket.close()
    return { before, after, fromSecondAddress }
  },
}

/** The answer, or '' when there is none in time. */
function ask(client, text, address = '::1', timeoutMs = 5000) {
  return new Promise(resolve => {
    const timer = setTimeout(() => resolve(''), timeoutMs)
    client.once('message', data => {
      clearTimeout(timer)
      resolve(data.toString())
    })
    client.send(text, PORT, address)
  })
}

const scenario = scenarios[process.argv[2]]
console.log(JSON.stringify(await scenario()))
process.exit()
