// Ctrl-C in the middle of long work: the first one stops it in good order, a second one ends the process.

/** Runs `task` with a signal that SIGINT and SIGTERM set off. @returns its result, or the exit code of the interruption */
export async function interruptible<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T | { exitCode: number }> {
  const stop = new AbortController()
  let exitCode: number | undefined
  const handlers = (
    [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const
  ).map(([signal, code]) => {
    const handler = (): void => {
      exitCode = code
      stop.abort(new Error('interrupted'))
    }
    process.once(signal, handler)
    return () => process.off(signal, handler)
  })
  try {
    return await task(stop.signal)
  } catch (error) {
    if (exitCode === undefined) throw error
    return { exitCode }
  } finally {
    for (const forget of handlers) forget()
  }
}
