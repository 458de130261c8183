// Signals that this process gets, for a container that has no terminal to send them through.

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const

/** Hands signals to `onSignal` instead of dying of them. @returns a function that ends it */
export function forwardSignals(onSignal: (signal: NodeJS.Signals) => void): () => void {
  for (const signal of forwarded) process.on(signal, onSignal)
  return () => {
    for (const signal of forwarded) process.off(signal, onSignal)
  }
}
