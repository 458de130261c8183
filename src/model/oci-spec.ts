// The part of the OCI runtime specification's config.json that tsrun writes and reads (version 1.2).
// https://github.com/opencontainers/runtime-spec/blob/main/config.md

export interface OciMount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

export interface OciIdMapping {
  readonly containerID: number
  readonly hostID: number
  readonly size: number
}

export interface OciSpec {
  readonly ociVersion: string
  readonly process: {
    readonly terminal: boolean
    readonly consoleSize?: { readonly height: number; readonly width: number }
    readonly user: { readonly uid: number; readonly gid: number; readonly additionalGids: readonly number[] }
    readonly args: readonly string[]
    readonly env: readonly string[]
    readonly cwd: string
    readonly capabilities: Readonly<
      Record<'bounding' | 'effective' | 'inheritable' | 'permitted' | 'ambient', readonly string[]>
    >
    readonly rlimits: readonly { readonly type: string; readonly soft: number; readonly hard: number }[]
    readonly noNewPrivileges: boolean
    readonly oomScoreAdj?: number
    readonly apparmorProfile?: string
    readonly selinuxLabel?: string
  }
  readonly root: { readonly path: string; readonly readonly: boolean }
  readonly hostname?: string
  readonly domainname?: string
  readonly mounts: readonly OciMount[]
  readonly linux: {
    readonly namespaces: readonly { readonly type: string; readonly path?: string }[]
    readonly uidMappings?: readonly OciIdMapping[]
    readonly gidMappings?: readonly OciIdMapping[]
    readonly devices: readonly {
      readonly path: string
      readonly type: string
      readonly major: number
      readonly minor: number
      readonly fileMode: number
      readonly uid: number
      readonly gid: number
    }[]
    readonly cgroupsPath: string
    readonly sysctl: Readonly<Record<string, string>>
    readonly rootfsPropagation: string
    /** SELinux label of the root and of file systems that are made for the container. */
    readonly mountLabel?: string
    readonly maskedPaths: readonly string[]
    readonly readonlyPaths: readonly string[]
  }
  readonly annotations: Readonly<Record<string, string>>
}
