/** The terminal of a face, passing bytes as they are: see kernel/terminal.ts. */
export { makeRaw } from '../kernel/terminal.ts'
