// Trying again: how often, and how long to wait in between.

import { setTimeout as sleep } from 'node:timers/promises'
import type { HttpResponse } from './http-client.ts'

/** Attempts in a row that bring nothing before we give up. */
export const maxAttempts = 5
const firstPauseMs = 250
const longestPauseMs = 8_000
/** A registry that asks for more patience than this gets its error shown instead. */
const longestRetryAfterMs = 60_000

const passing = new Set([408, 425, 429, 500, 502, 503, 504])

/** Whether an answer may be a better one next time. */
export function isPassing(status: number): boolean {
  return passing.has(status)
}

/** Waits before attempt number `attempt` (1 is the first repetition), with jitter, so that many do not come back at once. */
export async function pauseBefore(attempt: number, signal: AbortSignal | undefined, atLeastMs = 0): Promise<void> {
  const pause = Math.min(firstPauseMs * 2 ** (attempt - 1), longestPauseMs) * (0.75 + Math.random() / 2)
  await sleep(Math.max(pause, atLeastMs), undefined, signal === undefined ? {} : { signal })
}

/** What Retry-After says, in ms: seconds or a date. Undefined where there is none. */
export function retryAfterMs(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined) return undefined
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/** How long to wait before the request is repeated; undefined where that is of no use. */
export function pauseFor(response: HttpResponse): number | undefined {
  if (!isPassing(response.status)) return undefined
  const wait = retryAfterMs(response.header('retry-after'))
  // A rate limit that names no end lasts for hours.
  if (response.status === 429 && wait === undefined && response.header('ratelimit-limit') !== undefined)
    return undefined
  return wait === undefined ? 0 : wait > longestRetryAfterMs ? undefined : wait
}
