// What comes with the source of an image: its Dockerfile and what it leaves out.

import { parseDockerfile } from '../../../src/engine/build/dockerfile/parse-dockerfile.ts'
import { expandWords, SubstitutionError } from '../../../src/engine/build/dockerfile/substitute.ts'
import { parseIgnoreFile } from '../../../src/engine/build/ignore-file.ts'
import type { FuzzTarget } from '../fuzzer.ts'
import { isForUsers } from '../target.ts'

const dockerfile: FuzzTarget = {
  name: 'dockerfile',
  kind: 'text',
  run: input => {
    const { stages, globalArgs } = parseDockerfile(input.toString('utf8'), 'Dockerfile')
    return [
      ...new Set([...globalArgs, ...stages.flatMap(stage => stage.instructions)].map(each => each.keyword)),
    ].join()
  },
  refuses: isForUsers,
}

const substitution: FuzzTarget = {
  name: 'substitution',
  kind: 'text',
  run: input =>
    expandWords(input.toString('utf8'), {
      lookup: name => (name === 'SET' ? 'value' : name === 'LONG' ? 'a'.repeat(5000) : undefined),
      escapeCharacter: '\\',
    }).length > 1,
  refuses: error => error instanceof SubstitutionError,
}

const paths = ['a', 'a/b/c.ts', '.git/config', 'node_modules/x/y', `${'d/'.repeat(40)}file`, 'a'.repeat(200)]

const ignoreFile: FuzzTarget = {
  name: 'ignore-file',
  kind: 'text',
  run: input => {
    const rules = parseIgnoreFile(input.toString('utf8'), '.dockerignore')
    return paths.map(path => rules.excludes(path)).join()
  },
  refuses: isForUsers,
}

export const buildTargets: readonly FuzzTarget[] = [dockerfile, substitution, ignoreFile]
