// `load`: an archive of `docker save` (old and new), of podman or skopeo, an OCI archive, each also compressed and from a pipe,
// or an OCI layout in a directory. The kinds are told by what is in them.

import { createReadStream, statSync } from 'node:fs'
import { ArchiveIntake } from '../../drivers/image/archive-intake.ts'
import { BlobStore } from '../../drivers/image/blob-store.ts'
import { decompress } from '../../drivers/image/decompress.ts'
import { Staging } from '../../drivers/image/staging.ts'
import { defaultUnpackLimits, refuseBeyond } from '../../drivers/image/unpack-limits.ts'
import { assurePoolThread } from '../../ffi/pool-thread.ts'
import { TarFormatError } from '../../lib/tar-entry.ts'
import { TarReader } from '../../lib/tar-reader.ts'
import { TsrunError } from '../../model/errors.ts'
import { type Digest, digestHex } from '../../model/image.ts'
import { loadDockerArchive } from './docker-archive.ts'
import type { ImageStore } from './image-store.ts'
import { directoryLayout, type LoadedImage, type LoadLayoutOptions, loadLayout } from './load-layout.ts'

/** Loads all images of an archive. @param source a path, or the bytes @throws TsrunError not-found, invalid */
export async function loadImages(
  store: ImageStore,
  source: string | AsyncIterable<Buffer>,
  options: LoadLayoutOptions = {},
): Promise<LoadedImage[]> {
  store.files.create()
  await assurePoolThread()
  const staging = Staging.open(store.files.staging)
  try {
    if (typeof source !== 'string') return await loadStream(store, staging, { source, options })
    const stat = statSync(source, { throwIfNoEntry: false })
    if (stat === undefined)
      throw new TsrunError('not-found', 'no-such-file', `cannot load "${source}": there is no such file`)
    if (stat.isDirectory()) return await loadLayout(store, staging, { source: directoryLayout(source), options })
    return await loadStream(store, staging, { source: createReadStream(source, { highWaterMark: 1 << 20 }), options })
  } finally {
    await staging.close()
  }
}

async function loadStream(
  store: ImageStore,
  staging: Staging,
  { source, options }: { source: AsyncIterable<Buffer>; options: LoadLayoutOptions },
): Promise<LoadedImage[]> {
  const intake = await takeIn(staging, source, options)
  const blobs = new BlobStore(store.files)
  const index = intake.read('index.json')
  // What docker 25 and later save is both; the layout keeps the digests that the registry knows.
  if (index !== undefined && intake.file('oci-layout') !== undefined) {
    const layout = {
      index,
      adopt: async (digest: Digest) => {
        const file = intake.file(`blobs/sha256/${digestHex(digest)}`)
        if (file === undefined || file.digest !== digest) return false
        await blobs.adopt(staging, file.path, digest)
        return true
      },
      open: (digest: Digest) => intake.stream(`blobs/sha256/${digestHex(digest)}`),
    }
    const names = intake.read('manifest.json')
    return loadLayout(store, staging, { source: layout, options: { ...options, ...namesOfDocker(names) } })
  }
  const manifest = intake.read('manifest.json')
  if (manifest !== undefined) return loadDockerArchive(store, staging, { manifest, intake, options })
  throw new TsrunError(
    'invalid',
    'no-image-archive',
    'cannot load: the archive holds no image (neither manifest.json nor index.json)',
    {
      hint: 'the archive of a root file system is made an image with `tsrun import`',
    },
  )
}

/** Tags as manifest.json has them, by config digest: what docker 25 writes into index.json alone lacks the repository at times. */
function namesOfDocker(manifest: Buffer | undefined): Pick<LoadLayoutOptions, 'tagsByConfig'> {
  if (manifest === undefined) return {}
  const tags = new Map<string, string[]>()
  try {
    for (const { Config, RepoTags } of JSON.parse(manifest.toString('utf8'))) {
      const hex = /([0-9a-f]{64})(\.json)?$/.exec(String(Config))?.[1]
      if (hex !== undefined && Array.isArray(RepoTags)) tags.set(`sha256:${hex}`, RepoTags.map(String))
    }
  } catch {
    // The layout stands without it.
    return {}
  }
  return { tagsByConfig: tags }
}

async function takeIn(
  staging: Staging,
  source: AsyncIterable<Buffer>,
  options: LoadLayoutOptions,
): Promise<ArchiveIntake> {
  const limits = { ...defaultUnpackLimits, ...options.limits }
  const intake = new ArchiveIntake(staging, limits)
  const reader = new TarReader(intake)
  let bytes = 0
  try {
    for await (const chunk of decompress(source)) {
      options.signal?.throwIfAborted()
      bytes += chunk.length
      refuseBeyond('maxBytes', bytes, limits)
      reader.write(chunk)
    }
    reader.end()
    return intake
  } catch (error) {
    if (!(error instanceof TarFormatError)) throw error
    throw new TsrunError('invalid', 'invalid-archive', `cannot load: ${error.message}`, { cause: error })
  } finally {
    intake.close()
  }
}
