/**
 * Both ends of what the engine and tsrun-init say to each other: the bootstrap, the messages on fd 3 and the frames on
 * the attach socket. The numbers are in init/numbers.ts: `native/bootstrap-tags.h` is generated from the tables there
 * (`node native/gen-tags.mjs`), and `native/bootstrap.c` reads what `encodeBootstrap` writes. Pure; no I/O.
 */

export { encodeBootstrap } from './init/bootstrap.ts'
export type * from './init/config.ts'
export * from './init/frames.ts'
export * from './init/messages.ts'
export * from './init/numbers.ts'
