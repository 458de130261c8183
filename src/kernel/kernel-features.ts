// What the running kernel has, found without loading a module or changing anything.

import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { gunzipSync } from 'node:zlib'

/** `unknown`: the kernel does not publish how it was configured. */
export type FeatureState = 'built-in' | 'loaded' | 'module' | 'missing' | 'unknown'

export interface KernelFeatures {
  /** @param module its name under /sys/module, where the option can be a module */
  state(option: string, module?: string): FeatureState
}

/** Reads the kernel's configuration and module lists once. */
export function readKernelFeatures(): KernelFeatures {
  const config = kernelConfig()
  const modules = `/lib/modules/${release()}`
  const dependencies = readText(`${modules}/modules.dep`) ?? ''
  const builtIn = readText(`${modules}/modules.builtin`) ?? ''
  return {
    state: (option, module) => {
      const file = module === undefined ? undefined : new RegExp(`(^|/)${module.replaceAll('_', '[-_]')}\\.ko`, 'm')
      if (module !== undefined && existsSync(`/sys/module/${module}`)) return 'loaded'
      if (file?.test(builtIn)) return 'built-in'
      const value = config === undefined ? undefined : (new RegExp(`^${option}=(.)`, 'm').exec(config)?.[1] ?? 'n')
      if (value === 'y') return 'built-in'
      if (file?.test(dependencies)) return 'module'
      return value === undefined ? 'unknown' : 'missing'
    },
  }
}

/** The running kernel's configuration, or undefined where nothing tells. */
function kernelConfig(): string | undefined {
  if (existsSync('/proc/config.gz')) return gunzipSync(readFileSync('/proc/config.gz')).toString('latin1')
  return readText(`/boot/config-${release()}`) ?? readText(`/lib/modules/${release()}/config`)
}

/** The text of a file, or undefined where it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
