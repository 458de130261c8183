// What the engine does to the machine, told while it does it: for faces and for users of the library.

export { isExplaining, isRehearsal, Rehearsed, setExplainer } from '../kernel/explain.ts'
