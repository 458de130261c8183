// Which objects are structs to a template, and which are maps. In docker's they have types: a field that no struct has is an
// error, a key that no map has is `<no value>`. Here the name under which a map stands tells it.

import type { Structs } from './go-template/evaluate.ts'

/** A row: its fields are fixed, and so are those of an event's actor; whatever else it holds is a map. */
export function structsOfRow(row: object): Structs {
  const actor: unknown = 'Actor' in row ? row.Actor : undefined
  return { has: value => value === row || value === actor, mayLack: () => false }
}

/** Fields whose keys come from users, or are ports, names and ids. */
const maps = new Set([
  ...[
    'Labels',
    'Annotations',
    'Options',
    'DriverOpts',
    'Sysctls',
    'Tmpfs',
    'Volumes',
    'Data',
    'Status',
    'AuxiliaryAddresses',
  ],
  ...['ExposedPorts', 'PortBindings', 'Ports', 'Networks', 'Containers', 'Subnets', 'Peers'],
])

/** Fields that docker's structs have, and that JSON leaves out where they are not set. */
const optional = new Set([
  ...['Health', 'Healthcheck', 'SizeRw', 'SizeRootFs', 'StopTimeout', 'StopSignal', 'Shell', 'OnBuild', 'ArgsEscaped'],
  ...[
    'Hostname',
    'Domainname',
    'User',
    'WorkingDir',
    'Env',
    'Cmd',
    'Entrypoint',
    'MacAddress',
    'Author',
    'Comment',
    'Variant',
  ],
  ...['IPRange', 'CreatedAt', 'ClusterVolume', 'UsageData', 'Parent', 'Created', 'RepoTags', 'RepoDigests', ...maps],
])

/** All objects of what is inspected but its maps. The configuration of a log is a map of options, any other a struct. */
export function structsOfInspection(value: unknown): Structs {
  const structs = new WeakSet<object>()
  const visit = (each: unknown, name: string, parent: string) => {
    if (Array.isArray(each)) for (const item of each) visit(item, '', name)
    else if (isObject(each)) {
      if (!maps.has(name) && !(name === 'Config' && parent === 'LogConfig')) structs.add(each)
      for (const [key, child] of Object.entries(each)) visit(child, key, name)
    }
  }
  visit(value, '', '')
  return { has: each => structs.has(each), mayLack: name => optional.has(name) }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
