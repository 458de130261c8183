// What registries, archives and users say about images.

import { parseChallenges } from '../../../src/drivers/image/registry/challenge.ts'
import {
  credentialsOf,
  type DockerConfig,
  entryFor,
  helperFor,
  readDockerConfig,
} from '../../../src/drivers/image/registry/docker-config.ts'
import { parseMirror, readRegistries } from '../../../src/drivers/image/registry/registries-config.ts'
import { retryAfterMs } from '../../../src/drivers/image/registry/retry.ts'
import { formatReference, parseReference } from '../../../src/engine/image/image-reference.ts'
import {
  hostPlatform,
  parseConfig,
  parseIndex,
  parseManifest,
  selectManifests,
} from '../../../src/engine/image/manifest.ts'
import { isDigest } from '../../../src/model/image.ts'
import type { FuzzTarget } from '../fuzzer.ts'
import { assert, isForUsers } from '../target.ts'
import { temporaryFile } from '../temporary.ts'

/** Whatever it is, all three readers are asked; the last one's word counts. Digests become file names. */
const manifest: FuzzTarget = {
  name: 'image-documents',
  kind: 'json',
  run: input => {
    const answers = [
      answer(() => {
        const { config, layers } = parseManifest(input)
        for (const { digest, size } of [config, ...layers])
          assert(isDigest(digest) && Number.isSafeInteger(size) && size >= 0, `digest ${digest} of ${size} bytes`)
      }),
      answer(() => {
        for (const { digest } of selectManifests(parseIndex(input), hostPlatform()))
          assert(isDigest(digest), 'a digest')
      }),
      answer(() => {
        const { rootfs, config } = parseConfig(input)
        for (const id of rootfs.diff_ids) assert(isDigest(id), 'a layer id')
        for (const text of [config?.Env, config?.Cmd, config?.Entrypoint].flatMap(list => list ?? []))
          assert(typeof text === 'string', 'a word of the command')
      }),
    ]
    return answers.join()
  },
  refuses: () => false,
}

function answer(read: () => void): string {
  try {
    read()
    return 'ok'
  } catch (error) {
    if (!isForUsers(error)) throw error
    return error instanceof Error ? error.message.replace(/[0-9]+|".*"/g, '').slice(0, 60) : ''
  }
}

const reference: FuzzTarget = {
  name: 'image-reference',
  kind: 'text',
  run: input => {
    const parsed = parseReference(input.toString('utf8'))
    const text = formatReference(parsed)
    assert(formatReference(parseReference(text)) === text, `${text} is read as something else`)
    assert(/^[\x21-\x7e]+$/.test(text), 'a reference with blanks or control characters')
    assert(!text.split('/').includes('..'), 'a reference that climbs')
    return Object.keys(parsed).join()
  },
  refuses: isForUsers,
}

/** config.json of docker, which people edit. */
const dockerConfig: FuzzTarget = {
  name: 'docker-config',
  kind: 'json',
  run: input => {
    const config: DockerConfig = readDockerConfig(temporaryFile(input))
    const helper = helperFor(config, 'registry.example')
    assert(helper === undefined || typeof helper === 'string', 'a helper that is no text')
    const entry = entryFor(config, 'registry.example', 'team/app')
    const credentials = entry === undefined ? undefined : credentialsOf(entry)
    for (const text of Object.values(credentials ?? {}))
      assert(typeof text === 'string', 'a credential that is no text')
    return `${helper !== undefined} ${credentials?.kind}`
  },
  refuses: isForUsers,
}

const registries: FuzzTarget = {
  name: 'registries',
  kind: 'json',
  run: input => {
    const { registries } = readRegistries(temporaryFile(input))
    for (const { mirrors } of registries.values()) for (const mirror of mirrors) parseMirror(mirror)
    return registries.size
  },
  refuses: isForUsers,
}

/** Headers of a registry's answer. */
const headers: FuzzTarget = {
  name: 'registry-headers',
  kind: 'text',
  run: input => {
    const text = input.toString('latin1')
    const pause = retryAfterMs(text)
    assert(pause === undefined || pause >= 0, `a pause of ${pause} ms`)
    return parseChallenges(text)
      .map(({ scheme }) => scheme.length > 0)
      .join()
  },
  refuses: isForUsers,
}

export const imageTargets: readonly FuzzTarget[] = [manifest, reference, dockerConfig, registries, headers]
