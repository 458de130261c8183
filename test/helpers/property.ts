// fast-check with the seed of the run. Its report names seed and path of a counterexample, so nothing is to be printed here.

import fc from 'fast-check'
import { seed } from './seed.ts'

fc.configureGlobal({ seed })

export default fc
