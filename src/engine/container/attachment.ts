// One client on a container's attach socket: the container's output as streams, its input, and its end.

import { closeSync, openSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { PassThrough, type Readable, Writable } from 'node:stream'
import { encodeFrame, encodeResize, FRAME, FrameDecoder } from '../../kernel/init-protocol.ts'

/** How a client joins. */
export interface AttachOptions {
  /** Whether the caller tears the container down itself when it ends, and says so with `release()`. */
  readonly owner?: boolean
  /** Closes the client when aborted; the container goes on. */
  readonly signal?: AbortSignal
  /** Told each size that the terminal is given. */
  readonly onResize?: (rows: number, columns: number) => void
  /** Told when the client leaves by `detach()`. */
  readonly onDetach?: () => void
}

/** One client on a container, or on a further process in one: its output as streams, its input, and its end. Closing it leaves
 * what runs alone. */
export class Attachment {
  /** The container's standard output; with a terminal, everything. */
  readonly stdout: Readable
  /** Its standard error; ends empty with a terminal. */
  readonly stderr: Readable
  /** The container's standard input; `end()` closes it there. */
  readonly stdin: Writable
  /** The exit code; undefined when the monitor went away without telling one. */
  readonly exit: Promise<number | undefined>
  readonly #socket: Socket
  readonly #onResize: AttachOptions['onResize']
  readonly #onDetach: AttachOptions['onDetach']

  private constructor(socket: Socket, first: Buffer | undefined, { onResize, onDetach }: AttachOptions) {
    this.#socket = socket
    this.#onResize = onResize
    this.#onDetach = onDetach
    const stdout = new PassThrough({ highWaterMark: 1 << 20 })
    const stderr = new PassThrough({ highWaterMark: 1 << 20 })
    this.stdout = stdout
    this.stderr = stderr
    this.stdin = new Writable({
      highWaterMark: 1 << 18,
      write: (chunk: Buffer, _encoding, done) => write(socket, encodeFrame(FRAME.STDIN, chunk), done),
      final: done => write(socket, encodeFrame(FRAME.STDIN_EOF, Buffer.alloc(0)), done),
    })
    this.stdin.on('error', () => {})
    this.exit = readFrames(socket, stdout, stderr)
    if (first !== undefined) socket.write(first)
  }

  /** Connects to the monitor behind `path`. @throws Error ENOENT or ECONNREFUSED when there is none any more */
  static async open(path: string, options: AttachOptions = {}): Promise<Attachment> {
    // sockaddr_un holds 108 bytes: a longer path is reached through a descriptor of its folder.
    const folder = openSync(dirname(path), 'r')
    try {
      const socket = connect(`/proc/self/fd/${folder}/${basename(path)}`)
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve)
        socket.once('error', reject)
      })
      socket.removeAllListeners('error')
      options.signal?.addEventListener('abort', () => socket.destroy(), { once: true })
      return new Attachment(
        socket,
        options.owner === true ? encodeFrame(FRAME.OWNER, Buffer.alloc(0)) : undefined,
        options,
      )
    } finally {
      closeSync(folder)
    }
  }

  /** Tells the terminal's size. */
  resize(rows: number, columns: number): void {
    this.#socket.write(encodeResize(rows, columns))
    this.#onResize?.(rows, columns)
  }

  /** Asks for nothing but the exit. */
  ignoreOutput(): void {
    this.#socket.write(encodeFrame(FRAME.SUBSCRIBE, Buffer.from([0])))
    this.stdout.resume()
    this.stderr.resume()
  }

  /** The owner has torn the container down: the monitor may go. Nothing is passed on: sockets of Node carry no descriptors. */
  release(): void {
    // The monitor hangs up when the kernel has unmounted its root, which on a busy disk takes a while: nobody waits for that.
    this.#socket.end(encodeFrame(FRAME.RELEASED, Buffer.alloc(0)), () => this.#socket.unref())
  }

  /** As close(), for a user who asks to leave: it is an event of the container. */
  detach(): void {
    this.#onDetach?.()
    this.close()
  }

  /** The container goes on. */
  close(): void {
    this.#socket.destroy()
  }
}

function write(socket: Socket, frame: Buffer, done: (error?: Error | null) => void): void {
  if (socket.destroyed || !socket.writable) done()
  else socket.write(frame, () => done())
}

function readFrames(socket: Socket, stdout: PassThrough, stderr: PassThrough): Promise<number | undefined> {
  const decoder = new FrameDecoder()
  let code: number | undefined
  let waiting = 0
  const resume = () => {
    waiting -= 1
    if (waiting === 0) socket.resume()
  }
  const deliver = (stream: PassThrough, payload: Buffer) => {
    if (stream.write(payload)) return
    // The reader is slow: stop reading the socket, and so the container, until it has caught up.
    waiting += 1
    if (waiting === 1) socket.pause()
    stream.once('drain', resume)
  }
  return new Promise(resolve => {
    const end = () => {
      stdout.end()
      stderr.end()
      resolve(code)
    }
    socket.on('data', (bytes: Buffer) => {
      for (const frame of decoder.push(bytes)) {
        if (frame.type === FRAME.STDOUT) deliver(stdout, frame.payload)
        else if (frame.type === FRAME.STDERR) deliver(stderr, frame.payload)
        else if (frame.type === FRAME.EXIT) {
          code = frame.payload.readInt32BE(0)
          end()
        }
      }
    })
    socket.on('error', () => {})
    socket.on('close', end)
  })
}
