// What the engine uses of this folder, but for what every command looks at.

export { MAX_TEXT_BYTES, type ResolverReply, tellResolver } from './control.ts'
export { removeResolverFolder } from './lock.ts'
export { openResolverSockets, type ResolverSockets } from './sockets.ts'
export { startResolver } from './start.ts'
