// What tsrun gives to network drivers of others: the same functions that its own are made of, so that such a driver needs no FFI
// and its changes appear in `--explain`. Every one is documented where it is defined.

import { hasCode } from '../../ffi/errno.ts'
import { addressAdd, addressRemove, listAddresses } from '../../kernel/netlink/address.ts'
import { linkAddMacvlan, linkAddVlan } from '../../kernel/netlink/child-link.ts'
import { getLink, linkAddBridge, linkMove, linkRemove, linkSet, listLinks } from '../../kernel/netlink/link.ts'
import { listRoutes, routeAdd, routeRemove, routeReplace } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { linkAddVeth } from '../../kernel/netlink/veth.ts'
import { openNetnsSocket } from '../../kernel/netns.ts'
import { readSysctl, writeSysctl } from '../../kernel/sysctl.ts'
import { type ErrorKind, TsrunError } from '../../model/errors.ts'
import type { NetworkDriver, Sandbox } from '../../model/network.ts'
import { hostHasIpv6 } from './forwarding.ts'
import { configureSandbox } from './sandbox-interface.ts'

/** What a driver is made with. */
export interface NetworkDriverHost {
  /** `tsrun`, or `tsrun-<8 hex digits>` for an engine with another root: begin the alias of every interface you make with it. */
  readonly engineId: string
  /** A folder for files that must not survive a reboot. */
  readonly stateDirectory: string
  readonly kit: NetworkKit
}

/** The default export of a driver's package: makes the driver. Called at most once a process, when a network asks for it. */
export type NetworkDriverFactory = (host: NetworkDriverHost) => NetworkDriver | Promise<NetworkDriver>

/** @param options hint: what the user can do; cause: the error behind it */
function error(kind: ErrorKind, code: string, message: string, options?: { hint?: string; cause?: unknown }) {
  return new TsrunError(kind, code, message, options)
}

/** A netlink socket in the container's namespace for as long as `task` runs; it has to be synchronous. */
function withSandboxSocket<T>(sandbox: Sandbox, label: string, task: (socket: NetlinkSocket) => T): T {
  const socket = openNetnsSocket(sandbox.netnsFd, label)
  try {
    return task(socket)
  } finally {
    socket.close()
  }
}

/** tsrun's own functions for links, addresses, routes and sysctls; a change is made by `socket.apply(change)`. */
export const networkKit = {
  error,
  hasCode,
  /** A netlink socket on the host for as long as `task` runs; it has to be synchronous. */
  withHostSocket: withNetlinkSocket,
  withSandboxSocket,
  configureSandbox,
  hostHasIpv6,
  getLink,
  listLinks,
  linkAddBridge,
  linkAddMacvlan,
  linkAddVeth,
  linkAddVlan,
  linkMove,
  linkRemove,
  linkSet,
  addressAdd,
  addressRemove,
  listAddresses,
  routeAdd,
  routeRemove,
  routeReplace,
  listRoutes,
  readSysctl,
  writeSysctl,
} as const

/** See NetworkDriverHost. */
export type NetworkKit = typeof networkKit
