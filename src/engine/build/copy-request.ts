// The words of COPY and ADD -> what is to be copied where.

import { createHash } from 'node:crypto'
import type { FetchedFile } from '../../drivers/image/registry/fetch-file.ts'
import { parseFileMode } from '../../lib/file-mode.ts'
import { TsrunError } from '../../model/errors.ts'
import { resolvePath, type Words } from './config-instructions.ts'
import type { CopyRequest, InlineFile } from './copy-step.ts'
import { flagValue, type Instruction } from './dockerfile/instruction.ts'
import { expandText, SubstitutionError } from './dockerfile/substitute.ts'
import { syntaxError } from './dockerfile/syntax-error.ts'
import { type FileSource, findFiles } from './file-source.ts'
import { isGitAddress } from './git-address.ts'
import { excludePatterns } from './ignore-file.ts'

/** A download is in memory while it is looked at. */
const MAX_DOWNLOAD_BYTES = 512 << 20

/** A download that the step makes when the cache does not have it. */
export interface RemoteFile {
  readonly url: string
  readonly name: string
  /** Hex digits of the sha256 that it must have. */
  readonly sha256: string
}

export interface PlannedCopy extends CopyRequest {
  readonly remote: readonly RemoteFile[]
}

export interface CopyScope {
  readonly words: Words
  readonly workingDir: string | undefined
  readonly sourceOf: (from: string | undefined) => Promise<FileSource>
}

/** @throws TsrunError invalid, not-found */
export async function planCopy(instruction: Instruction, scope: CopyScope): Promise<PlannedCopy> {
  const { words, sourceOf } = scope
  const list = (instruction.list?.map(item => words.expand(item)) ?? words.each()).filter(word => word !== '')
  const target = list.at(-1) ?? ''
  const value = (name: string): string | undefined => {
    const text = flagValue(instruction, name)
    return text === undefined ? undefined : words.expand(text)
  }
  const heredocs = new Map(instruction.heredocs.map(heredoc => [heredoc.name, heredoc]))
  const inline: InlineFile[] = []
  const files: CopyRequest['files'][number][] = []
  const remote: RemoteFile[] = []
  const isAdd = instruction.keyword === 'ADD'
  for (const word of list.slice(0, -1)) {
    const heredoc = instruction.list === undefined ? heredocs.get(/^\d*<<-?(.+)$/.exec(word)?.[1] ?? '') : undefined
    if (heredoc !== undefined) {
      const text = heredoc.isExpanded ? expanded(instruction, heredoc.content, words) : heredoc.content
      inline.push({ name: heredoc.name, content: Buffer.from(text), mode: 0o644 })
    } else if (isAdd && isGitAddress(word))
      throw syntaxError(
        instruction,
        `ADD ${word}: tsrun fetches no git repositories`,
        'clone it into the context first',
      )
    else if (isAdd && /^https?:\/\//i.test(word)) remote.push(remoteFile(instruction, word, value('checksum')))
    else {
      const source = await sourceOf(value('from'))
      try {
        files.push(...findFiles(source, word))
      } catch (error) {
        throw error instanceof TsrunError ? placed(instruction, error) : error
      }
    }
  }
  const chmod = value('chmod')
  const change = chmod === undefined ? undefined : parseFileMode(chmod)
  if (chmod !== undefined && change === undefined)
    throw syntaxError(instruction, `--chmod=${chmod}: expected octal digits, e.g. 755, or letters, e.g. u=rwX,go=rX`)
  const chown = value('chown')
  const excluded = instruction.flags.filter(flag => flag.name === 'exclude').map(flag => words.expand(flag.value))
  const isDirectory = /(^|\/)\.{0,2}$/.test(target)
  const path = resolvePath(scope.workingDir, target)
  return {
    files,
    inline,
    remote,
    destination: isDirectory && path !== '/' ? `${path}/` : path,
    keepsParents: flagValue(instruction, 'parents') !== undefined && value('parents') !== 'false',
    unpacks: isAdd,
    ...(chown === undefined ? {} : { chown }),
    ...(chmod === undefined || change === undefined ? {} : { chmod: { text: chmod, change } }),
    ...(excluded.length === 0 ? {} : { exclude: excludePatterns(excluded, `${instruction.file}:${instruction.line}`) }),
  }
}

/** Fetches a file and compares it with what it should be. @throws TsrunError unavailable, invalid */
export async function download({ url, name, sha256 }: RemoteFile, signal: AbortSignal): Promise<InlineFile> {
  const unavailable = (reason: string, cause?: unknown, hint?: string) =>
    new TsrunError('unavailable', 'download', `cannot download ${url}: ${reason}`, {
      cause,
      ...(hint === undefined ? {} : { hint }),
    })
  const { fetchFile } = await import('../../drivers/image/registry/fetch-file.ts')
  let file: FetchedFile
  try {
    file = await fetchFile(url, { limit: MAX_DOWNLOAD_BYTES, signal })
  } catch (error) {
    signal.throwIfAborted()
    throw error instanceof TsrunError ? unavailable(error.message, error, error.hint) : error
  }
  const { status, content, lastModified } = file
  if (status < 200 || status > 299) throw unavailable(`HTTP ${status}`)
  const digest = createHash('sha256').update(content).digest('hex')
  if (digest !== sha256)
    throw new TsrunError('invalid', 'checksum', `what ${url} gives is not what --checksum says: it is sha256:${digest}`)
  const modified = Date.parse(lastModified ?? '')
  // As docker has it: nobody but the owner may read it.
  return { name, content, mode: 0o600, ...(Number.isNaN(modified) ? {} : { mtime: Math.floor(modified / 1000) }) }
}

function remoteFile(instruction: Instruction, url: string, checksum: string | undefined): RemoteFile {
  if (checksum === undefined)
    throw syntaxError(
      instruction,
      `ADD ${url}: what is downloaded must be known beforehand`,
      'say what it is: ADD --checksum=sha256:DIGEST URL DESTINATION',
    )
  const [, sha256] = /^sha256:([0-9a-f]{64})$/.exec(checksum) ?? []
  if (sha256 === undefined) throw syntaxError(instruction, `--checksum=${checksum}: expected sha256: and 64 hex digits`)
  const name = decodeURIComponent(new URL(url).pathname.split('/').at(-1) ?? '')
  if (name === '' || name.includes('/') || name === '.' || name === '..')
    throw syntaxError(instruction, `ADD ${url}: the address names no file`)
  return { url, name, sha256 }
}

function expanded(instruction: Instruction, text: string, { scope }: Words): string {
  try {
    return expandText(text, scope)
  } catch (error) {
    if (!(error instanceof SubstitutionError)) throw error
    throw syntaxError(instruction, error.message)
  }
}

function placed({ file, line }: Instruction, error: TsrunError): TsrunError {
  const options = { cause: error, ...(error.hint === undefined ? {} : { hint: error.hint }) }
  return new TsrunError(error.kind, error.code, `${file}:${line}: ${error.message}`, options)
}
