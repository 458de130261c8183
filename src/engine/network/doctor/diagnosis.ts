// Finding out why a packet does not arrive: checks in the order in which a packet meets what they look at. The first one that
// fails is the answer. Nothing here changes the machine, but for probe packets and a trace that goes with the process.

import type { NetlinkSocket } from '../../../kernel/netlink/socket.ts'
import type { RunRecord } from '../../../model/container.ts'
import type { Endpoint, Network } from '../../../model/network.ts'

/** One thing that was looked at. */
export interface DiagnosisStep {
  /** What was looked at, e.g. `forwarding`. */
  readonly check: string
  readonly ok: boolean
  /** What was found. */
  readonly evidence: string
  /** The command that mends it, where it is not ok and there is one. */
  readonly remedy?: string
}

/** Everything that was looked at along one path; ends with the first step that is not ok. */
export interface Diagnosis {
  /** e.g. `web -> 10.0.0.1`. */
  readonly subject: string
  readonly steps: readonly DiagnosisStep[]
}

/** Steps one after the other; what is not asked for is not looked at. */
export type Steps = Generator<DiagnosisStep, void, undefined>

/** The host, as far as checks look at it. */
export interface HostScene {
  /** Serves the host's network namespace. */
  readonly host: NetlinkSocket
  /** The engine's nftables table. */
  readonly tableName: string
  readonly networks: readonly Network[]
  readonly running: readonly RunRecord[]
  /** Whether a container was given tsrun's resolver. */
  readonly asksResolver: (containerId: string) => boolean
}

/** One end of a container, for checks along its path. */
export interface EndpointScene extends HostScene {
  readonly network: Network
  readonly endpoint: Endpoint
  readonly run: RunRecord
  /** The container's network namespace; stays the caller's. */
  readonly netnsFd: number
  /** Serves it. */
  readonly inside: NetlinkSocket
}

export function good(check: string, evidence: string): DiagnosisStep {
  return { check, ok: true, evidence }
}

export function bad(check: string, evidence: string, remedy?: string): DiagnosisStep {
  return { check, ok: false, evidence, ...(remedy === undefined ? {} : { remedy }) }
}

/** Takes steps until one is not ok. */
export function diagnose(subject: string, steps: Iterable<DiagnosisStep>): Diagnosis {
  const taken: DiagnosisStep[] = []
  for (const step of steps) {
    taken.push(step)
    if (!step.ok) break
  }
  return { subject, steps: taken }
}

/** The address in `192.168.0.2/24`. */
export function bare(address: string): string {
  return address.replace(/\/.*/, '')
}
