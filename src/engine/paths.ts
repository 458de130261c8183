// The state tree, in one place (design decision D8).
// <root> holds what must survive a reboot, <state> what must not. Both can be read with ls and cat.

import { join } from 'node:path'

/** Where what must survive a reboot is by default. */
export const DEFAULT_ROOT = '/var/lib/tsrun'
/** Where what must not is by default. */
export const DEFAULT_STATE = '/run/tsrun'

export class Paths {
  readonly root: string
  readonly state: string

  constructor(root: string, state: string) {
    this.root = root
    this.state = state
  }

  /** One `<name>.json` a network. */
  get networks(): string {
    return join(this.root, 'networks')
  }
  /** One folder a pool, one link an address. */
  get ipam(): string {
    return join(this.root, 'ipam')
  }
  /** One folder a container. */
  get containers(): string {
    return join(this.root, 'containers')
  }
  /** `<name>` -> id: a link made exclusively, so that a name is taken once. */
  get names(): string {
    return join(this.root, 'names')
  }
  get volumes(): string {
    return join(this.root, 'volumes')
  }
  /** What builds keep: `steps/` and `mounts/`; see build/step-cache.ts and build/cache-mounts.ts. */
  get build(): string {
    return join(this.root, 'build')
  }
  /** Drivers of others: `node_modules/tsrun-network-NAME`, `node_modules/tsrun-ipam-NAME`. */
  get drivers(): string {
    return join(this.root, 'drivers')
  }
  /** Compiled seccomp filters, by what they were compiled from. */
  get seccomp(): string {
    return join(this.root, 'seccomp')
  }
  container(id: string): string {
    return join(this.containers, id)
  }
  containerFile(id: string, file: string): string {
    return join(this.containers, id, file)
  }

  /** What is under way: see journal.ts. */
  get pending(): string {
    return join(this.state, 'pending')
  }
  /** What happened: see event-log.ts. */
  get events(): string {
    return join(this.state, 'events.jsonl')
  }
  /** One file a container that waits to be restarted: see restart.ts. */
  get restarting(): string {
    return join(this.state, 'restarting')
  }
  /** How further processes of containers ended, until somebody has told it: see exec-container.ts. */
  get execs(): string {
    return join(this.state, 'execs')
  }
  /** Of tsrun-dns, while there is one: its lock and its socket. */
  get resolver(): string {
    return join(this.state, 'dns')
  }
  /** One folder an endpoint whose address is leased: see kernel/lease-keeper.ts. */
  get leases(): string {
    return join(this.state, 'leases')
  }
  get locks(): string {
    return join(this.state, 'locks')
  }
  /** One folder a container whose process lives. */
  get running(): string {
    return join(this.state, 'containers')
  }
  run(id: string): string {
    return join(this.running, id)
  }
  runFile(id: string, file: string): string {
    return join(this.running, id, file)
  }
}
