// Writes docs/docker.md; called by scripts/gen-docs.

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs, promisify } from 'node:util'

interface Docker {
  readonly source: string
  /** Group (`` for none) -> verb -> its flags, `-d,--detach` and the like, with spaces between. */
  readonly verbs: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Why something is not there: by `network connect`, `volume create --type` or, for every verb, `--gpus`. */
  readonly reasons: Readonly<Record<string, string>>
}

interface Compared {
  readonly verb: string
  /** Our verb as its help calls it; undefined where there is none. */
  readonly ours: string | undefined
  readonly present: readonly string[]
  readonly missing: readonly string[]
  readonly extra: readonly string[]
}

const file = 'docs/docker.md'
const docker: Docker = JSON.parse(readFileSync('scripts/gen-docs-docker.json', 'utf8'))
const run = promisify(execFile)
const { values } = parseArgs({ options: { check: { type: 'boolean' } } })

const text = await render()
if (values.check !== true) writeFileSync(file, text)
else if (readFileSync(file, 'utf8') !== text) {
  process.stderr.write(`${file} is not in step with the help of dist/tsrun: run scripts/gen-docs\n`)
  process.exitCode = 1
}

async function render(): Promise<string> {
  const groups = await Promise.all(
    Object.entries(docker.verbs).map(async ([group, verbs]) => {
      const compared = await Promise.all(Object.entries(verbs).map(([verb, flags]) => compare(group, verb, flags)))
      return section(group, compared)
    }),
  )
  return `# docker's verbs and flags, and ours

Made by \`scripts/gen-docs\` from the help of \`tsrun\`; a test fails where it is out of step. Docker's side:
${docker.source}.

A flag is present when \`tsrun\` knows it under docker's name, short form included. \`--help\` is everywhere and not listed.

${groups.join('\n')}
## What is there and yet differs

${readFileSync('scripts/gen-docs-differences.md', 'utf8')}`
}

/** @param flags `-d,--detach --name` */
async function compare(group: string, verb: string, flags: string): Promise<Compared> {
  const name = `${group} ${verb}`.trim()
  const theirs = flags.split(' ').filter(Boolean)
  const help = await helpOf(group, verb)
  if (help === undefined) return { verb: name, ours: undefined, present: [], missing: theirs, extra: [] }
  const known = new Set(help.flags.flatMap(flag => flag.split(',')))
  const isKnown = (flag: string) => flag.split(',').every(each => known.has(each))
  const named = new Set(theirs.flatMap(flag => flag.split(',')))
  return {
    verb: name,
    ours: help.usage,
    present: theirs.filter(isKnown),
    missing: theirs.filter(flag => !isKnown(flag)),
    extra: help.flags.filter(flag => !flag.split(',').some(each => named.has(each))),
  }
}

/** What the help of `tsrun GROUP VERB` says; undefined where there is no such verb. */
async function helpOf(group: string, verb: string): Promise<{ usage: string; flags: string[] } | undefined> {
  const words = [...(group === '' ? [] : [group]), verb]
  let help: string
  try {
    help = (await run('dist/tsrun', [...words, '--help'])).stdout
  } catch {
    return undefined
  }
  const [, usage = ''] = /^Usage: (tsrun [a-z|-]+(?: [a-z|-]+)*)/m.exec(help) ?? []
  const isMember = !['network', 'volume', 'system'].includes(group) || usage.split(/[ |]/).slice(2).includes(verb)
  if (usage === '' || !isMember) return undefined
  const flags = [...help.matchAll(/^ {2}((?:-\w, )?--[\w-]+)/gm)].map(([, flag = '']) => flag.replace(', ', ','))
  return { usage: usage.replace(/\|[a-z-]+/, ''), flags: flags.filter(flag => !flag.endsWith('--help')) }
}

function section(group: string, all: readonly Compared[]): string {
  const title = group === '' ? 'Without a group' : `docker ${group}`
  const verbs = all.map(({ verb, ours, present, missing }) => {
    const count = present.length + missing.length
    const flags = ours === undefined || count === 0 ? '' : `${present.length} of ${count}`
    return row([code(`docker ${verb}`), ours === undefined ? `no: ${reason(verb)}` : code(ours), flags, list(present)])
  })
  const missing = all
    .filter(each => each.ours !== undefined)
    .flatMap(each => each.missing.map(flag => row([code(each.verb), list([flag]), reason(each.verb, flag)])))
  const extra = all.flatMap(each => (each.extra.length === 0 ? [] : [`- ${code(each.verb)}: ${list(each.extra)}`]))
  return [
    `## ${title}\n`,
    table(['docker', 'tsrun', 'flags', 'which'], verbs),
    ...(missing.length === 0 ? [] : ['Flags that are missing:\n', table(['verb', 'flag', 'why'], missing)]),
    ...(extra.length === 0 ? [] : [`Flags that docker does not have:\n\n${extra.join('\n')}\n`]),
  ].join('\n')
}

function reason(verb: string, flag?: string): string {
  if (flag === undefined) return docker.reasons[verb] ?? 'not there'
  const long = flag.split(',').at(-1) ?? ''
  return docker.reasons[`${verb} ${long}`] ?? docker.reasons[long] ?? ''
}

function table(head: readonly string[], rows: readonly string[]): string {
  return `${row(head)}\n${row(head.map(() => '---'))}\n${rows.join('\n')}\n`
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

function list(flags: readonly string[]): string {
  return flags.map(flag => code(flag.replace(',', ', '))).join(', ')
}

function code(words: string): string {
  return `\`${words}\``
}
