// What a server on a network grants a container for a time, e.g. by DHCP. Plain data, on disk in the endpoint.

/** A route of a container to somewhere else than the default route leads. */
export interface LeasedRoute {
  /** CIDR with host bits zero. */
  readonly destination: string
  /** Absent: it is on the link. */
  readonly gateway?: string
}

/** An address for a time, and what the server says with it. All addresses in canonical text form. */
export interface Lease {
  /** With prefix length. */
  readonly address: string
  /** Where the default route leads; absent: this network is no way out. */
  readonly gateway?: string
  readonly routes: readonly LeasedRoute[]
  readonly dnsServers: readonly string[]
  readonly searchDomains: readonly string[]
  readonly mtu?: number
  /** Who granted it. */
  readonly server: string
  /** For how long; whoever keeps it renews it in time. */
  readonly seconds: number
  /** RFC 3339. */
  readonly obtainedAt: string
}
