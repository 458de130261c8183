// A few tasks at a time, the others wait for their turn.

/** Gives a function that runs tasks, at most `count` of them at once, in the order in which they came. */
export function limiter(count: number): <T>(task: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0
  return async task => {
    if (running >= count) await new Promise<void>(resolve => waiting.push(resolve))
    else running += 1
    try {
      return await task()
    } finally {
      // The place is handed on, not given back.
      const next = waiting.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}
