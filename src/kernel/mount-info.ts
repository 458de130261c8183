// /proc/<pid>/mountinfo as data (proc(5)). Pure.

export interface MountInfo {
  readonly id: number
  readonly parentId: number
  /** `major:minor`. */
  readonly device: string
  /** What of the filesystem is mounted, usually `/`. */
  readonly root: string
  readonly target: string
  readonly options: string
  /** e.g. `shared:5 master:2`; empty for a private mount. */
  readonly propagation: string
  readonly type: string
  readonly source: string
  readonly superOptions: string
}

/** Each line of a mountinfo text, in its order; a line that is not one is skipped. */
export function parseMountInfo(text: string): MountInfo[] {
  const mounts: MountInfo[] = []
  for (const line of text.split('\n')) {
    const separator = line.indexOf(' - ')
    if (separator < 0) continue
    const [id, parentId, device, root, target, options, ...propagation] = line.slice(0, separator).split(' ')
    const [type, source, superOptions] = line.slice(separator + 3).split(' ')
    if (device === undefined || root === undefined || target === undefined || type === undefined) continue
    mounts.push({
      id: Number(id),
      parentId: Number(parentId),
      device,
      root: unescapeMountPath(root),
      target: unescapeMountPath(target),
      options: options ?? '',
      propagation: propagation.join(' '),
      type,
      source: unescapeMountPath(source ?? ''),
      superOptions: superOptions ?? '',
    })
  }
  return mounts
}

/** The kernel writes space, tab, line feed and backslash as `\040` and so on; bytes above 127 stand as they are. */
function unescapeMountPath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
