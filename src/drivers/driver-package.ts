// Drivers of others: npm packages `tsrun-KIND-NAME` in folders that only root can write. Never from the current folder,
// never from an environment variable: what is loaded here runs as root.

import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { hasCode } from '../ffi/errno.ts'
import { keepNoTranslations } from '../ffi/import-cache.ts'
import { assertTrustedTree } from '../ffi/trusted-tree.ts'
import { TsrunError } from '../model/errors.ts'

/** Where packages installed with `npm install --global` are. */
const globalFolders = ['/usr/local/lib/node_modules', '/usr/lib/node_modules']

/** One kind of drivers. */
export interface DriverKind<Driver> {
  /** In messages, e.g. `network driver`. */
  readonly title: string
  /** What its packages are called before the driver's name, e.g. `tsrun-network-`. */
  readonly prefix: string
  /** Makes the driver. What it throws is told as why it cannot be loaded. */
  make(factory: DriverFactory): unknown
  /** @throws TsrunError invalid unless `driver` is one and is called `name`: see refuseProblems() */
  assert(driver: unknown, name: string): asserts driver is Driver
}

/** The default export of a package. */
export type DriverFactory = (host: unknown) => unknown

/** Where drivers of others are. */
export interface DriverSources {
  /** The engine's own folder, for `npm install --prefix`. */
  readonly driverDirectory: string
  /** Drivers that a program brings along, by name. */
  readonly ownDrivers: Readonly<Record<string, DriverFactory>>
}

/**
 * The driver `name`: one that the program brought along, or else one that is installed. @returns undefined where there is none
 * @throws TsrunError denied (others can change it), invalid (it is no driver, or fails while it is loaded)
 */
export async function loadDriver<Driver>(
  kind: DriverKind<Driver>,
  name: string,
  { driverDirectory, ownDrivers }: DriverSources,
): Promise<Driver | undefined> {
  const own = Object.hasOwn(ownDrivers, name) ? ownDrivers[name] : undefined
  if (own !== undefined) return makeDriver(kind, name, own)
  return loadDriverPackage(kind, name, [join(driverDirectory, 'node_modules'), ...globalFolders])
}

/** Loads the driver `name`, if its package is in one of `folders`: the first that has it. */
async function loadDriverPackage<Driver>(
  kind: DriverKind<Driver>,
  name: string,
  folders: readonly string[],
): Promise<Driver | undefined> {
  // As npm names packages, so that nothing in a name leads elsewhere.
  if (!/^[a-z0-9][a-z0-9._-]{0,99}$/.test(name)) return undefined
  const folder = folders.map(place => join(place, `${kind.prefix}${name}`)).find(isThere)
  if (folder === undefined) return undefined
  try {
    assertTrustedTree(folder)
  } catch (error) {
    throw cannotLoad(kind, name, {
      why: messageOf(error),
      isDenied: true,
      hint: `it runs as root: chown -R root:root ${folder} && chmod -R go-w ${folder}`,
      cause: error,
    })
  }
  try {
    keepNoTranslations()
    const module: unknown = await import(pathToFileURL(join(folder, mainOf(folder))).href)
    return await makeDriver(kind, name, factoryOf(module))
  } catch (error) {
    if (error instanceof TsrunError) throw error
    throw cannotLoad(kind, name, { why: messageOf(error), hint: `look into ${folder}`, cause: error })
  }
}

/** Calls the factory and checks what it makes. @throws TsrunError invalid */
async function makeDriver<Driver>(kind: DriverKind<Driver>, name: string, factory: DriverFactory): Promise<Driver> {
  const driver: unknown = await kind.make(factory)
  const assertDriver: (driver: unknown, name: string) => asserts driver is Driver = kind.assert
  assertDriver(driver, name)
  return driver
}

/** Own and inherited fields of a driver, by name: most are objects of a class. */
export function fieldsOf(driver: unknown, names: readonly string[]): ReadonlyMap<string, unknown> {
  if (typeof driver !== 'object' || driver === null) return new Map()
  return new Map(names.map(name => [name, Reflect.get(driver, name)]))
}

/** What is wrong with those fields that are to be functions. */
export function wrongMethods(
  fields: ReadonlyMap<string, unknown>,
  { needed, optional }: { readonly needed: readonly string[]; readonly optional: readonly string[] },
): string[] {
  const lacking = needed.filter(method => typeof fields.get(method) !== 'function')
  const wrong = optional.filter(method => !['function', 'undefined'].includes(typeof fields.get(method)))
  return [...lacking, ...wrong].map(method => `${method} is no function`)
}

/** @throws TsrunError invalid, naming the `problems` of what is to be a driver, unless there are none */
export function refuseProblems(title: string, name: string, problems: readonly string[]): void {
  if (problems.length === 0) return
  throw cannotLoad({ title }, name, {
    why: `it is no ${title}: ${problems.join(', ')}`,
    hint: 'docs/network-drivers.md says what a driver has',
  })
}

function cannotLoad(
  { title }: { readonly title: string },
  name: string,
  { why, isDenied = false, ...options }: { why: string; isDenied?: boolean; hint: string; cause?: unknown },
): TsrunError {
  const message = `cannot load the ${title} "${name}": ${why}`
  return new TsrunError(isDenied ? 'denied' : 'invalid', 'bad-driver', message, options)
}

function factoryOf(module: unknown): DriverFactory {
  const found = typeof module === 'object' && module !== null ? Reflect.get(module, 'default') : undefined
  if (typeof found === 'function') return found as DriverFactory
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
