// The help of every verb and subcommand, flags that are not there, and docs/docker.md, which is made of the help.

import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { readPlaces } from '../../src/cli/completion/model.ts'
import { commandGroups } from '../../src/cli/registry.ts'
import { execute } from '../helpers/command.ts'
import { faceCommand } from '../helpers/world.ts'

const repository = fileURLToPath(new URL('../../', import.meta.url))
const places = await readPlaces(commandGroups.flatMap(group => group.commands))
const inner = places.filter(place => !place.paths.includes(''))
/** `network` and `container`: they only hold others. */
const parents = inner.filter(place => place.words.length > 0).flatMap(place => place.paths)
const leaves = inner.filter(place => place.words.length === 0).flatMap(place => place.paths)

/** Help needs no world: it touches nothing. */
function tsrun(...args: string[]) {
  return execute([...faceCommand(), ...args])
}

describe('help', () => {
  test('there is something to test', () => {
    expect(parents).toEqual(expect.arrayContaining(['container', 'image', 'network', 'volume', 'system']))
    expect(leaves).toEqual(
      expect.arrayContaining(['run', 'network create', 'volume ls', 'container prune', 'image rm']),
    )
  })

  test.each(leaves)('%s says what it is for, how it is called, and gives an example', async path => {
    const { code, stdout, stderr } = await tsrun(...path.split(' '), '--help')

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [usage = '', ...rest] = stdout.split('\n\n')
    expect(usage).toMatch(/^Usage: tsrun [a-z]/)
    // The sentence is the paragraph behind the usage.
    expect(rest[0]).toMatch(/^[A-Z][^\n]*[\s\S]*[.`)]$/)
    expect(stdout).toMatch(/\nOptions:\n/)
    expect(stdout).toMatch(/\nExamples?:\n {2}\S.*tsrun|\nExamples?:\n {2}tsrun /)
  })

  test.each(parents)('%s lists what is in it', async path => {
    const { code, stdout, stderr } = await tsrun(path, '--help')

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Usage: tsrun ${path} `))
    for (const { name } of places.find(place => place.paths.includes(path))?.words ?? [])
      expect(stdout).toMatch(new RegExp(`^ {2}(\\w+\\|)?${name}\\b`, 'm'))
  })

  test('of tsrun lists every verb, and `help VERB` is `VERB --help`', async () => {
    const { code, stdout } = await tsrun('--help')

    expect(code).toBe(0)
    for (const { name, hidden } of commandGroups.flatMap(group => group.commands))
      expect(new RegExp(`^ {2}${name} `, 'm').test(stdout), name).toBe(hidden !== true)
    expect(await tsrun('help', 'network', 'create')).toEqual(await tsrun('network', 'create', '--help'))
  })
})

describe('a flag that is not there', () => {
  test.each(leaves)('of %s is named on stderr, with the exit code of a wrong call', async path => {
    const { code, stdout, stderr } = await tsrun(...path.split(' '), '--no-such-flag')

    expect({ code, stdout }).toEqual({ code: 125, stdout: '' })
    expect(stderr).toMatch(/^tsrun: unknown option '--no-such-flag'\n/)
  })
})

test('docs/docker.md is what scripts/gen-docs makes of the help', async () => {
  const { code, stderr } = await execute([`${repository}scripts/gen-docs`, '--check'])

  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})
