// docker-credential-<name>: a program that keeps secrets, spoken to over stdin and stdout
// (github.com/docker/docker-credential-helpers). What goes in and out is never logged.

import { spawn } from 'node:child_process'
import { hasCode } from '../../../ffi/errno.ts'
import { TsrunError } from '../../../model/errors.ts'
import type { Credentials } from './credentials.ts'

/** The user name by which helpers mark an identity token. */
const identityUser = '<token>'
const timeoutMs = 30_000

/** What the helper has for a server; undefined where it has nothing. */
export async function helperGet(helper: string, server: string): Promise<Credentials | undefined> {
  const { code, stdout } = await callHelper(helper, 'get', server)
  if (code !== 0) {
    if (/not found/i.test(stdout)) return undefined
    throw failed(helper, 'get', code)
  }
  const found = parse(stdout)
  if (found === undefined) throw failed(helper, 'get', code)
  const { Username, Secret } = found
  if (Username === identityUser) return { kind: 'identity', token: Secret }
  return Username === '' && Secret === '' ? undefined : { kind: 'password', username: Username, password: Secret }
}

export async function helperStore(helper: string, server: string, credentials: Credentials): Promise<void> {
  const [Username, Secret] =
    credentials.kind === 'identity' ? [identityUser, credentials.token] : [credentials.username, credentials.password]
  const { code } = await callHelper(helper, 'store', JSON.stringify({ ServerURL: server, Username, Secret }))
  if (code !== 0) throw failed(helper, 'store', code)
}

/** Idempotent. */
export async function helperErase(helper: string, server: string): Promise<void> {
  const { code, stdout } = await callHelper(helper, 'erase', server)
  if (code !== 0 && !/not found/i.test(stdout)) throw failed(helper, 'erase', code)
}

async function callHelper(
  helper: string,
  verb: 'get' | 'store' | 'erase',
  input: string,
): Promise<{ code: number | null; stdout: string }> {
  // The name comes from a file; it must not lead out of PATH.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(helper))
    throw new TsrunError('invalid', 'credential-helper', `"${helper}" cannot be the name of a credential helper`)
  const program = `docker-credential-${helper}`
  const child = spawn(program, [verb], { stdio: ['pipe', 'pipe', 'ignore'] })
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  // It may end without reading.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', resolve)
    })
    return { code, stdout: Buffer.concat(chunks).toString('utf8') }
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'EACCES')) throw error
    throw new TsrunError('system', 'no-credential-helper', `cannot run "${program}": it is not in PATH`, {
      hint: 'install it, or take it out of credsStore and credHelpers in the docker config',
    })
  } finally {
    clearTimeout(timer)
  }
}

function parse(text: string): { Username: string; Secret: string } | undefined {
  try {
    const { Username, Secret } = JSON.parse(text)
    return typeof Username === 'string' && typeof Secret === 'string' ? { Username, Secret } : undefined
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined
    throw error
  }
}

/** Says nothing of what the helper printed: it may be the secret. */
function failed(helper: string, verb: string, code: number | null): TsrunError {
  const how = code === 0 ? 'its answer is not what it should be' : `it ended with ${code ?? 'a signal'}`
  return new TsrunError('system', 'credential-helper', `docker-credential-${helper} cannot ${verb}: ${how}`, {
    hint: `run \`docker-credential-${helper} list\` to see whether it works`,
  })
}
