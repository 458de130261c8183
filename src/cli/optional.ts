// Fields that are there or not: under exactOptionalPropertyTypes an absent one is not one that is undefined. Pure.

/** `{ [key]: value }`, or nothing where there is no value. */
export function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V })
}

/** `map(value)` where there is one. */
export function mapOptional<T, R>(value: T | undefined, map: (value: T) => R): R | undefined {
  return value === undefined ? undefined : map(value)
}
