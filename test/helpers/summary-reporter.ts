// Counts for the last line of scripts/test: writes "passed failed skipped" to the file named by TSRUN_TEST_SUMMARY.
// A file that does not load and an error outside any test count as failures, which vitest's own totals leave out.

import { writeFileSync } from 'node:fs'
import type { Reporter, SerializedError, TestModule } from 'vitest/node'

export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    let [passed, failed, skipped] = [0, unhandledErrors.length, 0]
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'passed') passed++
        else if (state === 'failed') failed++
        else skipped++
      }
      // Also a hook of a file or suite that failed beside tests that passed.
      failed += module.errors().length
      for (const suite of module.children.allSuites()) failed += suite.errors().length
    }
    if (process.env.TSRUN_TEST_SUMMARY !== undefined) {
      writeFileSync(process.env.TSRUN_TEST_SUMMARY, `${passed} ${failed} ${skipped}\n`)
    }
  }
}
