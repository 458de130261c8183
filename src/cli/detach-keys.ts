// `ctrl-p,ctrl-q`, `a`, `ctrl-@`: docker's notation for the keys that leave a terminal. Pure.

import { TsrunError } from '../model/errors.ts'

/** docker's: Ctrl-P Ctrl-Q. */
const defaultDetachKeys = Buffer.from([0x10, 0x11])

/** @param text undefined for the default; an empty text turns detaching off @throws TsrunError invalid */
export function parseDetachKeys(text: string | undefined): Buffer {
  if (text === undefined) return defaultDetachKeys
  if (text === '') return Buffer.alloc(0)
  return Buffer.from(text.split(',').map(key => parseKey(text, key)))
}

function parseKey(text: string, key: string): number {
  const control = /^ctrl-([a-zA-Z@[\\\]^_])$/.exec(key)?.[1]
  if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f
  if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0)
  throw new TsrunError('invalid', 'detach-keys', `invalid value "${text}" for --detach-keys: "${key}" is no key`, {
    hint: 'one character, or ctrl- and a letter or one of @ [ \\ ] ^ _, separated by commas',
  })
}
