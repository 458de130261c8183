import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { printable } from '../../engine/ids.ts'
import type { Container } from '../../model/container.ts'
import { parseWholeNumber } from '../../model/parse-resources.ts'
import { parseTime } from '../parse-time.ts'

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
        flags.tail === undefined || flags.tail === 'all'
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
      for await (const { time, stream, content } of engine.containers.logs(name, options)) {
        const stamp = lineStart[stream] ? `${flags.timestamps === true ? `${time} ` : ''}${details}` : ''
        lineStart[stream] = content.at(-1) === 10
        const bytes = stamp === '' ? content : Buffer.concat([Buffer.from(stamp), content])
        const out = process[stream]
        if (!out.write(bytes)) await new Promise(resolve => out.once('drain', resolve))
      }
    })
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
