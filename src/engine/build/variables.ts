// ARG and ENV of a stage: which variables its instructions and its steps see. Pure.

import type { Platform } from '../../model/image.ts'
import { formatPlatform } from '../image/manifest.ts'

/** ARGs that every build has without naming them; what they say is in no layer's key and in no history. */
const proxyNames = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY']
const predefined = new Set([...proxyNames, ...proxyNames.map(name => name.toLowerCase())])

/** The ARGs that BuildKit sets: TARGETPLATFORM and its like. */
export function platformArguments(target: Platform, build: Platform): Map<string, string> {
  const describe = (prefix: string, platform: Platform): [string, string][] => [
    [`${prefix}PLATFORM`, formatPlatform(platform)],
    [`${prefix}OS`, platform.os],
    [`${prefix}ARCH`, platform.architecture],
    [`${prefix}VARIANT`, platform.variant ?? ''],
  ]
  return new Map([...describe('TARGET', target), ...describe('BUILD', build)])
}

export class StageVariables {
  readonly #buildArgs: ReadonlyMap<string, string>
  readonly #globals: ReadonlyMap<string, string>
  readonly #args = new Map<string, string | undefined>()
  #env: ReadonlyMap<string, string> = new Map()

  /** @param globals the ARGs before the first FROM, and those that are set for every build */
  constructor(buildArgs: ReadonlyMap<string, string>, globals: ReadonlyMap<string, string>) {
    this.#buildArgs = buildArgs
    this.#globals = globals
  }

  /** `KEY=value` entries of the image being made. */
  set environment(entries: readonly string[]) {
    this.#env = new Map(
      entries.map(entry => {
        const [key = ''] = entry.split('=', 1)
        return [key, entry.slice(key.length + 1)]
      }),
    )
  }

  /** ARG. What the user said goes before the default here; without one, what was said before the first FROM. */
  declare(name: string, fallback: string | undefined): void {
    this.#args.set(name, this.#buildArgs.get(name) ?? fallback ?? this.#globals.get(name))
  }

  /** ENV goes before ARG. */
  readonly lookup = (name: string): string | undefined => {
    const own = this.#env.get(name) ?? this.#args.get(name)
    if (own !== undefined || this.#args.has(name)) return own
    return predefined.has(name) ? this.#buildArgs.get(name) : undefined
  }

  /** ARGs with a value, as RUN sees them and as its cache key counts them: those that no ENV hides. */
  argumentEntries(): string[] {
    return [...this.#args].flatMap(([name, value]) =>
      value === undefined || this.#env.has(name) ? [] : [`${name}=${value}`],
    )
  }

  /** Proxies that were given and not declared: RUN sees them, and nothing else does. */
  proxyEntries(): string[] {
    return [...this.#buildArgs].flatMap(([name, value]) =>
      predefined.has(name) && !this.#args.has(name) && !this.#env.has(name) ? [`${name}=${value}`] : [],
    )
  }
}

/** Whether ARG NAME need not be there for --build-arg NAME to mean something. */
export function isPredefined(name: string): boolean {
  return predefined.has(name) || name === 'SOURCE_DATE_EPOCH' || name.startsWith('BUILDKIT_')
}
