import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { parseWholeNumber } from '../../model/parse-resources.ts'
import { parseTime } from '../parse-time.ts'

interface LogFlags {
  readonly follow?: boolean
  readonly tail?: string
  readonly since?: string
  readonly until?: string
  readonly timestamps?: boolean
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
      const lineStart = { stdout: true, stderr: true }
      for await (const { time, stream, content } of engine.containers.logs(name, options)) {
        const stamp = flags.timestamps === true && lineStart[stream] ? `${time} ` : ''
        lineStart[stream] = content.at(-1) === 10
        const bytes = stamp === '' ? content : Buffer.concat([Buffer.from(stamp), content])
        const out = process[stream]
        if (!out.write(bytes)) await new Promise(resolve => out.once('drain', resolve))
      }
    })
}
