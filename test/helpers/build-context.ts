// Directories to build images from.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Result } from './command.ts'
import type { World } from './world.ts'

/** Writes files, by path below a new folder of the world; a Dockerfile among them. @returns the folder */
export function writeContext(world: World, files: Readonly<Record<string, string>>, name = 'context'): string {
  const folder = join(world.dir, name)
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  return folder
}

/** Builds `dockerfile` over `files` as the image `app`. */
export function build(
  world: World,
  dockerfile: string,
  { files = {}, flags = [] }: { files?: Readonly<Record<string, string>>; flags?: readonly string[] } = {},
): Promise<Result> {
  const folder = writeContext(world, { Dockerfile: dockerfile, ...files })
  return world.tsrun(['build', '-t', 'app', ...flags, folder], { timeoutMs: 60_000 })
}

/** The same, which must succeed. @returns what it told */
export async function built(...parameters: Parameters<typeof build>): Promise<string> {
  const { code, stderr, stdout } = await build(...parameters)
  if (code !== 0) throw new Error(`the build failed with ${code}:\n${stdout}${stderr}`)
  return stderr
}

/** What a shell in the image `app` prints. */
export function inApp(world: World, script: string): Promise<string> {
  return world.ok(['run', '--rm', '--entrypoint', 'sh', 'app', '-c', script])
}
