import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bashScript } from '../../src/cli/completion/bash.ts'
import { fishScript } from '../../src/cli/completion/fish.ts'
import { type Place, readPlaces } from '../../src/cli/completion/model.ts'
import { zshScript } from '../../src/cli/completion/zsh.ts'
import { commandGroups } from '../../src/cli/registry.ts'

const verbs = commandGroups.flatMap(group => group.commands)
let places: Place[]
let dir: string

/** In place of tsrun: says what there is, and under another --root something else. */
const fakeTsrun = `#!/bin/sh
case $* in
  '--root /other ps -a '*|'--root=/other ps -a '*) echo elsewhere ;;
  'ps -a '*) printf 'web\\nworker\\ndb\\n' ;;
  'images '*) printf 'busybox:latest\\nlocalhost:5000/app:1\\n<none>:<none>\\n' ;;
  'network ls '*) printf 'bridge\\nbr\\n' ;;
  'volume ls '*) printf 'data\\n' ;;
  *) exit 1 ;;
esac
`

beforeAll(async () => {
  places = await readPlaces(verbs)
  dir = mkdtempSync(join(tmpdir(), 'tsrun-completion-'))
  writeFileSync(join(dir, 'completion.bash'), bashScript(places))
  writeFileSync(join(dir, 'tsrun'), fakeTsrun)
  writeFileSync(join(dir, 'a-file'), '')
  chmodSync(join(dir, 'tsrun'), 0o755)
})

afterAll(() => rmSync(dir, { recursive: true }))

/** What bash offers for the words, the last of which is being typed. */
function complete(...typed: string[]): string[] {
  const script =
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is bash's
    'source ./completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tsrun; printf "%s\\n" "${COMPREPLY[@]}"'
  const env = { ...process.env, PATH: `${dir}:${process.env.PATH}` }
  const output = execFileSync('bash', ['--norc', '-euc', script, 'bash', 'tsrun', ...typed], { cwd: dir, env })
  return output.toString().split('\n').filter(Boolean)
}

describe('bash', () => {
  test('the script is one', () => {
    execFileSync('bash', ['-n', join(dir, 'completion.bash')])
  })

  test('verbs, also those behind groups', () => {
    expect(complete('ne')).toEqual(['network'])
    expect(complete('')).toEqual(expect.arrayContaining(['run', 'ps', 'container', 'completion']))
    expect(complete('')).not.toContain('health-check')
    expect(complete('network', 'l')).toEqual(['list', 'ls'])
    expect(complete('container', 'pr')).toEqual(['prune'])
    expect(complete('help', 'net')).toEqual(['network'])
    expect(complete('--root', '/other', 'ne')).toEqual(['network'])
  })

  test('flags, also of subcommands and their aliases', () => {
    expect(complete('ps', '--no')).toEqual(['--no-trunc'])
    expect(complete('network', 'ls', '--q')).toEqual(['--quiet'])
    expect(complete('container', 'ls', '--no')).toEqual(['--no-trunc'])
    expect(complete('--r')).toEqual(['--root'])
    expect(complete('run', '--publ')).toContain('--publish')
  })

  test('names of containers, images, networks and volumes', () => {
    expect(complete('stop', 'w')).toEqual(['web', 'worker'])
    expect(complete('stop', '-t', '3', 'web', 'd')).toEqual(['db'])
    expect(complete('container', 'rm', '-f', 'we')).toEqual(['web'])
    expect(complete('exec', '-it', 'we')).toEqual(['web'])
    expect(complete('rmi', 'busy')).toEqual(['busybox:latest'])
    expect(complete('run', '-d', 'b')).toEqual(['busybox:latest'])
    expect(complete('network', 'rm', 'b')).toEqual(['bridge', 'br'])
    expect(complete('volume', 'inspect', '')).toEqual(['data'])
    expect(complete('inspect', '')).toEqual(['web', 'worker', 'db', 'busybox:latest', 'localhost:5000/app:1'])
    expect(complete('--root', '/other', 'stop', '')).toEqual(['elsewhere'])
    expect(complete('--root', '=', '/other', 'stop', '')).toEqual(['elsewhere'])
  })

  test('values of flags', () => {
    expect(complete('run', '--network', 'br')).toEqual(['bridge', 'br'])
    expect(complete('run', '-net', 'br')).toEqual(['bridge', 'br'])
    expect(complete('run', '--network', '=', 'bri')).toEqual(['bridge'])
    expect(complete('run', '--name', '')).toEqual([])
    expect(complete('load', '-i', 'a-')).toEqual(['a-file'])
  })

  test('an image with a port and a tag, which bash splits at the colons', () => {
    expect(complete('rmi', 'local')).toEqual(['localhost:5000/app:1'])
    expect(complete('rmi', 'localhost', ':', '50')).toEqual(['5000/app:1'])
    expect(complete('rmi', 'localhost', ':', '5000/app', ':')).toEqual(['1'])
  })

  test("a container's files", () => {
    expect(complete('cp', 'w')).toEqual(['web:', 'worker:'])
    expect(complete('cp', 'web', ':', '/etc/hosts', 'a-')).toEqual(['a-file'])
  })

  test('nothing where nothing is known', () => {
    expect(complete('network', 'create', '')).toEqual([])
    expect(complete('rename', 'web', '')).toEqual([])
    expect(complete('logs', 'web', '')).toEqual([])
    expect(complete('nonsense', '')).toEqual([])
    expect(complete('completion', '')).toEqual(['bash', 'zsh', 'fish'])
  })

  test('flags of ours end where the command in the container begins', () => {
    expect(complete('run', 'busybox', '--')).toEqual([])
    expect(complete('run', 'busybox', 'a-')).toEqual(['a-file'])
  })
})

describe('zsh and fish', () => {
  test('know the same verbs and flags', () => {
    const zsh = zshScript(places)
    const fish = fishScript(places)
    expect(zsh).toMatch(/^#compdef tsrun\n/)
    for (const { name } of verbs.filter(verb => verb.hidden !== true)) {
      expect(zsh).toMatch(new RegExp(`^ {4}${name}\\)$`, 'm'))
      expect(fish).toContain(`__tsrun_at \\'${name}\\'`)
    }
    expect(zsh).toContain("'network create')")
    expect(fish).toMatch(/__tsrun_at \\'network create\\'' -l subnet -x/)
    expect(fish).toContain("(__tsrun_call network ls --format \\'{{.Name}}\\')")
  })
})
