// What the engine uses of this folder, but for what every command looks at.

export { removeDeadFolder } from '../life-lock.ts'
export { MAX_TEXT_BYTES, type ResolverReply, tellResolver } from './control.ts'
export { redirectStands } from './redirect-state.ts'
export { openResolverSockets, type ResolverSockets } from './sockets.ts'
export { startResolver } from './start.ts'
