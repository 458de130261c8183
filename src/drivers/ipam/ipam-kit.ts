// What tsrun gives to IPAM drivers of others.

import { type ErrorKind, TsrunError } from '../../model/errors.ts'
import type { IpamDriver } from '../../model/ipam.ts'

/** What an IPAM driver is made with. */
export interface IpamDriverHost {
  /** `tsrun`, or `tsrun-<8 hex digits>` for an engine with another root: tells the engines of one host apart. */
  readonly engineId: string
  /** A folder for files that must not survive a reboot. */
  readonly stateDirectory: string
  readonly kit: IpamKit
}

/** The default export of an IPAM driver's package: makes the driver. Called at most once a process, when a network asks for it. */
export type IpamDriverFactory = (host: IpamDriverHost) => IpamDriver | Promise<IpamDriver>

/** @param options hint: what the user can do; cause: the error behind it */
function error(kind: ErrorKind, code: string, message: string, options?: { hint?: string; cause?: unknown }) {
  return new TsrunError(kind, code, message, options)
}

/** tsrun's own errors: they have a hint, and the right exit code. */
export const ipamKit = { error } as const

/** See IpamDriverHost. */
export type IpamKit = typeof ipamKit
