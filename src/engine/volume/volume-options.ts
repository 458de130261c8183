// What a volume holds besides a folder of its own: the options of docker's `local` driver, `type`, `device` and `o` of mount(8). Pure.

import { isAbsolute } from 'node:path'
import { TsrunError } from '../../model/errors.ts'
import { printable } from '../ids.ts'

/** Where the content of a volume is. */
export type VolumeContent =
  /** A folder of its own, below the engine's root. */
  | { readonly kind: 'folder' }
  /** A folder of the host; it stays when the volume goes. */
  | { readonly kind: 'bind'; readonly path: string; readonly readonly: boolean; readonly recursive: boolean }
  /** Memory: each container that mounts it has one of its own, as long as it runs. */
  | { readonly kind: 'tmpfs'; readonly data: string }

/**
 * @param options `type=tmpfs[,o=size=64m,mode=700]`, or `type=none,o=bind[,ro],device=/path`; none for a plain folder
 * @throws TsrunError invalid, unsupported (a file system that has to be mounted from somewhere)
 */
export function volumeContent(options: Readonly<Record<string, string>>): VolumeContent {
  const unknown = Object.keys(options).find(key => key !== 'type' && key !== 'device' && key !== 'o')
  if (unknown !== undefined) throw invalid(`there is no option "${printable(unknown)}"`, 'type, device, o')
  const { type, device = '', o = '' } = options
  const words = o.split(',').filter(Boolean)
  if (type === 'tmpfs') return { kind: 'tmpfs', data: words.join(',') }
  if (words.includes('bind') || words.includes('rbind')) return bind(type, device, words)
  if (type === undefined && device === '' && words.length === 0) return { kind: 'folder' }
  if (type === undefined || type === '' || type === 'none')
    throw invalid('it says neither tmpfs nor bind', '-o type=tmpfs, or -o type=none -o o=bind -o device=/path')
  throw new TsrunError('unsupported', 'volume-type', `cannot create a volume of type "${printable(type)}"`, {
    hint: 'mount it on the host, then: tsrun volume create -o type=none -o o=bind -o device=/mnt/data NAME',
  })
}

function bind(type: string | undefined, device: string, words: readonly string[]): VolumeContent {
  if (type !== undefined && type !== 'none' && type !== 'bind')
    throw invalid(`a bind has no type "${printable(type)}"`, '-o type=none')
  if (!isAbsolute(device))
    throw invalid(`the device "${printable(device)}" is not an absolute path`, '-o device=/path, the folder to bind')
  const unknown = words.find(word => !['bind', 'rbind', 'ro', 'rw'].includes(word))
  if (unknown !== undefined) throw invalid(`a bind has no option "${printable(unknown)}"`, 'bind, rbind, ro, rw')
  return { kind: 'bind', path: device, readonly: words.includes('ro'), recursive: words.includes('rbind') }
}

function invalid(reason: string, hint: string): TsrunError {
  return new TsrunError('invalid', 'volume-option', `cannot create the volume: ${reason}`, { hint })
}
