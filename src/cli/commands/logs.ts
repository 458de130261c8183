import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { printable } from '../../engine/ids.ts'
import type { Container } from '../../model/container.ts'
import { parseWholeNumber } from '../../model/parse-resources.ts'
import { parseTime } from '../parse-time.ts'
import { endUnwritten, print, printError } from '../print.ts'

interface LogFlags {
  readonly follow?: boolean
  readonly tail?: string
  readonly since?: string
  readonly until?: string
  readonly timestamps?: boolean
  readonly details?: boolean
}

export function register(program: Command): Command {
  return program
    .command('logs')
    .description('Show what a container wrote.')
    .argument('<container>')
    .option('-f, --follow', 'go on until it ends')
    .option('-n, --tail <lines>', 'only the last lines, or all')
    .option('--since <time>', 'RFC 3339, seconds since 1970, or how long ago: 10m')
    .option('--until <time>', 'the same')
    .option('-t, --timestamps', 'show when each line was written')
    .option('--details', 'show the labels and variables that --log-opt labels and env name')
    .addHelpText('after', '\nExample:\n  tsrun logs -f --tail 20 web')
    .action(async (name: string, flags: LogFlags) => {
      await using engine = await Engine.open()
      const tail =
        flags.tail === undefined || /^(?:all|-\d+)$/.test(flags.tail)
          ? undefined
          : parseWholeNumber('--tail', flags.tail, { min: 0, max: 1e9 })
      const options = {
        follow: flags.follow === true,
        ...(tail === undefined ? {} : { tail }),
        ...(flags.since === undefined ? {} : { since: parseTime('--since', flags.since) }),
        ...(flags.until === undefined ? {} : { until: parseTime('--until', flags.until) }),
      }
      const { container } = await engine.containers.inspect(name)
      const details = flags.details === true ? `${logDetails(container)} ` : ''
      const lineStart = { stdout: true, stderr: true }
      const output = new GatheredOutput()
      for await (const { time, stream, content } of engine.containers.logs(name, options)) {
        const stamp = lineStart[stream] ? `${flags.timestamps === true ? `${time} ` : ''}${details}` : ''
        lineStart[stream] = content.at(-1) === 10
        const bytes = stamp === '' ? content : Buffer.concat([Buffer.from(stamp), content])
        output.write(stream, bytes)
      }
      output.flush()
    })
}

/** Lines that come together are written together, in their order: a write for each would take most of the time. */
class GatheredOutput {
  readonly #most = 1 << 16
  #stream: 'stdout' | 'stderr' = 'stdout'
  #parts: Buffer[] = []
  #length = 0

  /** Waits while the reader does not keep up. */
  write(stream: 'stdout' | 'stderr', bytes: Buffer): void {
    if (stream !== this.#stream) this.flush()
    this.#stream = stream
    // As soon as no further line is there at once.
    if (this.#parts.length === 0) setImmediate(() => this.#flushLater())
    this.#parts.push(bytes)
    this.#length += bytes.length
    if (this.#length >= this.#most) this.flush()
  }

  /** Who waits for the next line of a quiet container is not kept by an output that takes nothing. */
  #flushLater(): void {
    try {
      this.flush()
    } catch (error) {
      endUnwritten(error)
    }
  }

  /** @throws TsrunError system */
  flush(): void {
    if (this.#parts.length === 0) return
    const bytes = Buffer.concat(this.#parts)
    this.#parts = []
    this.#length = 0
    if (this.#stream === 'stdout') print(bytes)
    else printError(bytes)
  }
}

/** docker's `KEY=value,KEY=value` of what the log options name, in alphabetical order. */
function logDetails({ spec, process: { env } }: Container): string {
  const labels = (spec.log?.labels ?? []).flatMap(key => {
    const value = spec.labels?.[key]
    return value === undefined ? [] : [`${key}=${value}`]
  })
  const variables = env.filter(entry => spec.log?.env?.includes(entry.split('=', 1)[0] ?? '') === true)
  return printable([...labels, ...variables].sort().join(','))
}
