// Labels in a row of a listing: all of them as one field, and one of them by its key.

import { printable } from '../engine/ids.ts'
import type { Method } from './go-template/evaluate.ts'

type Labels = Readonly<Record<string, string>>

/** `a=1,b=2`, in the order of the keys. */
export function labelList(labels: Labels = {}): string {
  return Object.keys(labels)
    .sort()
    .map(key => printable(`${key}=${labels[key]}`))
    .join(',')
}

/** For `{{.Label "key"}}`: its value, empty where there is none. */
export function labelMethod(labels: Labels = {}): Method {
  return key => (Object.hasOwn(labels, key) ? printable(labels[key] ?? '') : '')
}
