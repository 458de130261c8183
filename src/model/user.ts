// `--user` and `--group-add` against the accounts of an image, by docker's rules.

import { findGroups, findPasswd, parseId } from '../lib/passwd.ts'
import type { Container } from './container.ts'
import { TsrunError } from './errors.ts'
import { toHostId } from './id-maps.ts'

export interface ResolvedUser {
  readonly uid: number
  readonly gid: number
  /** Sorted, without duplicates. */
  readonly additionalGids: readonly number[]
  /** `/` where passwd has none. */
  readonly home: string
}

/** More groups than the kernel takes for one process (NGROUPS_MAX). */
const maxGroups = 65_536

/**
 * Resolves `spec`, `name|uid[:group|gid]`; empty is root. A name wins over a number, and a number needs no entry. Groups
 * that list the user are added unless the spec names a group, as docker does; `extraGroups` always are.
 * @throws TsrunError invalid for a name without an entry, an id out of range, or too many groups
 */
export function resolveUser(
  spec: string,
  passwdText: string,
  groupText: string,
  extraGroups: readonly string[] = [],
): ResolvedUser {
  const colon = spec.indexOf(':')
  const userPart = colon < 0 ? spec : spec.slice(0, colon)
  const groupPart = colon < 0 ? '' : spec.slice(colon + 1)
  const user = findUser(userPart === '' ? '0' : userPart, spec, passwdText)
  const gid = groupPart === '' ? user.gid : findGroup(groupPart, spec, groupText)
  const { name } = user
  const memberships =
    groupPart === '' && name !== undefined ? findGroups(groupText, group => group.members.includes(name)) : []
  // CVE-2022-36109: with its own group among them, no set-group-id program leaves a group that is denied more than others.
  const additional = new Set([gid, ...memberships.map(group => group.gid)])
  for (const group of extraGroups) additional.add(findGroup(group, group, groupText))
  if (additional.size > maxGroups) throw invalid(`user "${spec}" is in more than ${maxGroups} groups`)
  return { uid: user.uid, gid, additionalGids: [...additional].sort((a, b) => a - b), home: user.home || '/' }
}

/** @throws TsrunError invalid when the container's process would be a user that is not mapped */
export function assertMapped(
  { name, idMaps }: Pick<Container, 'name' | 'idMaps'>,
  user: Pick<ResolvedUser, 'uid' | 'gid' | 'additionalGids'>,
): void {
  if (idMaps === undefined) return
  const wrong =
    toHostId(idMaps.uid, user.uid) === undefined
      ? `uid ${user.uid}`
      : [user.gid, ...user.additionalGids].flatMap(gid =>
          toHostId(idMaps.gid, gid) === undefined ? [`gid ${gid}`] : [],
        )[0]
  if (wrong === undefined) return
  throw new TsrunError('invalid', 'not-mapped', `cannot start a process in "${name}" with ${wrong}: it is not mapped`, {
    hint: 'choose another user, or a larger range: --userns auto:size=N, --uidmap, --gidmap',
  })
}

function findUser(
  text: string,
  spec: string,
  passwdText: string,
): { name?: string; uid: number; gid: number; home: string } {
  const id = parseId(text)
  const named = findPasswd(passwdText, entry => entry.name === text)
  const entry = named ?? (id === undefined ? undefined : findPasswd(passwdText, ({ uid }) => uid === id))
  if (entry !== undefined) return entry
  if (id !== undefined) return { uid: id, gid: 0, home: '' }
  throw notFound('user', text, spec, 'passwd')
}

function findGroup(text: string, spec: string, groupText: string): number {
  const id = parseId(text)
  const named = findGroups(groupText, entry => entry.name === text)[0]
  if (named !== undefined) return named.gid
  if (id !== undefined) return id
  throw notFound('group', text, spec, 'group')
}

function notFound(what: string, name: string, spec: string, file: string): TsrunError {
  const reason = /^-?\d+$/.test(name)
    ? 'ids go from 0 to 4294967294'
    : `no matching entries in the image's ${file} file`
  return invalid(`unable to find ${what} "${name}"${spec === name ? '' : ` of "${spec}"`}: ${reason}`)
}

function invalid(message: string): TsrunError {
  return new TsrunError('invalid', 'no-such-user', message, {
    hint: 'give a name that the image has, or numbers, e.g. --user 1000:1000',
  })
}
