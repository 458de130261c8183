// Which of the things that nobody uses a prune may remove: the same rules for containers, networks and volumes. Pure.

/** What a prune is limited to. Absent fields limit nothing. */
export interface PruneFilter {
  /** RFC 3339: only what was made before. */
  readonly until?: string
  /** `KEY` or `KEY=VALUE`: only what has all of these labels. */
  readonly labels?: readonly string[]
  /** `KEY` or `KEY=VALUE`: only what has none of these labels. */
  readonly withoutLabels?: readonly string[]
}

/** Whether a thing may be removed as far as the filter goes. */
export function passesPruneFilter(
  thing: { readonly createdAt: string; readonly labels: Readonly<Record<string, string>> },
  { until, labels = [], withoutLabels = [] }: PruneFilter,
): boolean {
  return (
    (until === undefined || Date.parse(thing.createdAt) < Date.parse(until)) &&
    labels.every(label => hasLabel(thing.labels, label)) &&
    !withoutLabels.some(label => hasLabel(thing.labels, label))
  )
}

/** @param wanted `KEY`, or `KEY=VALUE` */
export function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=')
  const key = at < 0 ? wanted : wanted.slice(0, at)
  return Object.hasOwn(labels, key) && (at < 0 || labels[key] === wanted.slice(at + 1))
}
