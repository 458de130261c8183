// Network drivers of others: npm packages `tsrun-network-NAME` in folders that only root can write. Never from the current folder,
// never from an environment variable: what is loaded here runs as root.

import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { hasCode } from '../../ffi/errno.ts'
import { keepNoTranslations } from '../../ffi/import-cache.ts'
import { assertTrustedTree } from '../../ffi/trusted-tree.ts'
import { TsrunError } from '../../model/errors.ts'
import type { NetworkDriver } from '../../model/network.ts'
import { type NetworkDriverFactory, type NetworkDriverHost, networkKit } from './driver-kit.ts'

/** Where packages installed with `npm install --global` are. */
const globalFolders = ['/usr/local/lib/node_modules', '/usr/lib/node_modules']

const methods = ['validate', 'create', 'connect', 'disconnect', 'remove', 'inspect'] as const
const optionalMethods = ['planPools', 'prepareEndpoint', 'extend'] as const

/** Where drivers are looked for, in this order. @param folder the engine's own, for `npm install --prefix` */
export function driverFolders(folder: string): string[] {
  return [join(folder, 'node_modules'), ...globalFolders]
}

/**
 * Loads the driver `name`, if its package is installed.
 * @param folders see driverFolders()
 * @throws TsrunError denied (others can change it), invalid (it is no driver, or fails while it is loaded)
 */
export async function loadExternalDriver(
  name: string,
  folders: readonly string[],
  host: Omit<NetworkDriverHost, 'kit'>,
): Promise<NetworkDriver | undefined> {
  // As npm names packages, so that nothing in a name leads elsewhere.
  if (!/^[a-z0-9][a-z0-9._-]{0,99}$/.test(name)) return undefined
  const folder = folders.map(place => join(place, `tsrun-network-${name}`)).find(isThere)
  if (folder === undefined) return undefined
  try {
    assertTrustedTree(folder)
  } catch (error) {
    throw cannotLoad(name, 'denied', messageOf(error), {
      hint: `it runs as root: chown -R root:root ${folder} && chmod -R go-w ${folder}`,
      cause: error,
    })
  }
  try {
    keepNoTranslations()
    const module: unknown = await import(pathToFileURL(join(folder, mainOf(folder))).href)
    return await makeDriver(name, factoryOf(module), host)
  } catch (error) {
    if (error instanceof TsrunError) throw error
    throw cannotLoad(name, 'invalid', messageOf(error), { hint: `look into ${folder}`, cause: error })
  }
}

/** Calls the factory and checks what it makes. @throws TsrunError invalid */
export async function makeDriver(
  name: string,
  factory: NetworkDriverFactory,
  host: Omit<NetworkDriverHost, 'kit'>,
): Promise<NetworkDriver> {
  const driver: unknown = await factory({ ...host, kit: networkKit })
  assertDriver(driver, name)
  return driver
}

/** @throws TsrunError invalid, saying what is missing, unless `driver` is one and is called `name` */
function assertDriver(driver: unknown, name: string): asserts driver is NetworkDriver {
  const fields = new Map(typeof driver === 'object' && driver !== null ? entriesOf(driver) : [])
  const lacking = methods.filter(method => typeof fields.get(method) !== 'function')
  const wrong = optionalMethods.filter(method => !['function', 'undefined'].includes(typeof fields.get(method)))
  const problems = [
    ...(fields.get('name') === name ? [] : [`its name is ${JSON.stringify(fields.get('name'))}`]),
    ...(typeof fields.get('hasEndpoints') === 'boolean' ? [] : ['hasEndpoints is no boolean']),
    ...[...lacking, ...wrong].map(method => `${method} is no function`),
  ]
  if (problems.length === 0) return
  throw cannotLoad(name, 'invalid', `it is no network driver: ${problems.join(', ')}`, {
    hint: 'docs/network-drivers.md says what a driver has',
  })
}

/** Own and inherited fields that a driver may have: most are objects of a class. */
function entriesOf(driver: object): [string, unknown][] {
  return ['name', 'hasEndpoints', ...methods, ...optionalMethods].map(key => [key, Reflect.get(driver, key)])
}

function factoryOf(module: unknown): NetworkDriverFactory {
  const found = typeof module === 'object' && module !== null ? Reflect.get(module, 'default') : undefined
  if (typeof found === 'function') return found as NetworkDriverFactory
  throw new Error('its default export is no function')
}

function mainOf(folder: string): string {
  const { main } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { main?: unknown }
  return typeof main === 'string' ? main : 'index.js'
}

function isThere(path: string): boolean {
  try {
    lstatSync(path)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return false
    throw error
  }
}

function cannotLoad(
  name: string,
  kind: 'denied' | 'invalid',
  why: string,
  options: { hint: string; cause?: unknown },
): TsrunError {
  return new TsrunError(kind, 'bad-driver', `cannot load the network driver "${name}": ${why}`, options)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
