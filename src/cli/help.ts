// What is printed about commands that are asked for in general, or are not there.

import { nearNames } from '../lib/near-names.ts'
import { TsrunError } from '../model/errors.ts'
import { groupMembers, groupNames } from './groups.ts'
import { commandGroups } from './registry.ts'

/** `tsrun --help`. */
export function overview(): string {
  const lines = commandGroups.flatMap(group => [
    '',
    `${group.title}:`,
    ...group.commands.filter(c => c.hidden !== true).map(c => `  ${c.name.padEnd(12)} ${c.summary}`),
  ])
  return `tsrun - containers without a daemon

Usage: tsrun [--root DIR] [--state DIR] COMMAND [ARGUMENTS]
${lines.join('\n')}

Groups, as docker has them: ${groupNames().join(', ')}

Global flags:
  --root DIR    what must survive a reboot (TSRUN_ROOT; default /var/lib/tsrun)
  --state DIR   what must not (TSRUN_STATE; default /run/tsrun)
  --userns-remap IDS
                map the users of new containers to ids of the host: default, USER, or START:SIZE
                (TSRUN_USERNS_REMAP; not set: they are the users of the host)
  --config DIR  where logins to registries are kept (DOCKER_CONFIG; default ~/.docker)
  -D, --debug   let helper processes say what goes wrong (TSRUN_DEBUG); so does --log-level debug
  -l, --log-level LEVEL, -c, --context default
                docker compatibility

Example:
  tsrun network create --subnet 192.168.0.0/24 br
  tsrun run -net br -p 80:80 busybox sh

\`tsrun COMMAND --help\` or \`tsrun help COMMAND\` explains a command.
`
}

/** docker's commands that tsrun does not have, and why. */
const absent: Readonly<Record<string, string>> = {
  buildx: '`tsrun build` builds, with stages side by side and cache mounts',
  checkpoint: 'there is no checkpoint and restore',
  compose: 'there is no compose; the library does the same in a program: docs/api.md, examples/two-services.ts',
  context: 'there is no daemon to choose: --root and --state choose an engine',
  plugin: 'drivers are part of tsrun',
  trust: 'signatures are not looked at; pull by digest: NAME@sha256:...',
  ...Object.fromEntries(
    ['config', 'node', 'secret', 'service', 'stack', 'swarm'].map(word => [word, 'swarm: tsrun is for one machine']),
  ),
}

/** There is no such command behind `tsrun`. */
export function noSuchCommand(name: string): TsrunError {
  const reason = Object.hasOwn(absent, name) ? absent[name] : undefined
  if (reason !== undefined)
    return new TsrunError('unsupported', 'no-such-command', `there is no command "${name}"`, { hint: reason })
  const known = commandGroups.flatMap(group =>
    group.commands.filter(c => c.hidden !== true).flatMap(c => [c.name, ...(c.aliases ?? [])]),
  )
  return noSuch(name, { known: [...known, ...groupNames(), 'help'], parent: '' })
}

/** There is no such command in a group. @param known its members; those of container and image where absent */
export function noSuchMember(group: string, name: string, known: readonly string[] = groupMembers(group)): TsrunError {
  return noSuch(name, { known, parent: group })
}

function noSuch(name: string, { known, parent }: { known: readonly string[]; parent: string }): TsrunError {
  const full = (word: string) => ['tsrun', parent, word].filter(Boolean).join(' ')
  const near = nearNames(name, known)
  const all = `\`${full('--help')}\` lists them`
  return new TsrunError(
    'invalid',
    'no-such-command',
    `there is no command "${[parent, name].filter(Boolean).join(' ')}"`,
    {
      hint: near.length === 0 ? all : `did you mean ${near.map(word => `\`${full(word)}\``).join(' or ')}? ${all}`,
    },
  )
}
