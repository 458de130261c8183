// The readers that are fuzzed. A new one: a target here, a folder of good inputs in corpus/, and nothing else.

import type { FuzzTarget } from '../fuzzer.ts'
import { archiveTargets } from './archives.ts'
import { buildTargets } from './builds.ts'
import { imageTargets } from './images.ts'
import { kernelTargets } from './kernel.ts'
import { textTargets } from './texts.ts'

export const targets: readonly FuzzTarget[] = [
  ...archiveTargets,
  ...imageTargets,
  ...buildTargets,
  ...kernelTargets,
  ...textTargets,
]
