import { defineConfig } from 'vitest/config'

// Namespaces belong to threads: tests run in processes of their own, never in worker threads.
// Two at a time is what two cores bear without disturbing each other's deadlines.
const shared = { pool: 'forks', environment: 'node', restoreMocks: true } as const

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          // Property tests take seconds of processor, and a busy machine has few to give.
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Each says itself how long it may take.
        test: {
          ...shared,
          name: 'fuzz',
          globalSetup: ['test/helpers/reap-worlds.ts'],
          hookTimeout: 120_000,
          include: ['test/fuzz/**/*.test.ts'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...shared,
          name: 'native',
          include: ['test/native/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...shared,
          name: 'kernel',
          include: ['test/kernel/**/*.test.ts'],
          testTimeout: 30_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...shared,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/helpers/reap-worlds.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 3 },
        },
      },
      {
        // The same command line under Node: what depends on the runtime.
        test: {
          ...shared,
          name: 'e2e-node',
          env: { TSRUN_TEST_FACE: 'node' },
          include: ['test/e2e/{05-run,06-stdio,07-terminal,08-lifecycle}.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 4 },
        },
      },
    ],
  },
})
