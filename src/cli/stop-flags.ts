// What `stop` and `restart` take.

import { type Command, Option } from 'commander'
import type { StopOptions } from '../engine/container/container-service.ts'
import { parseWholeNumber } from '../model/parse-resources.ts'

/** As commander has them. */
export interface StopFlags {
  readonly timeout?: string
  readonly time?: string
  readonly signal?: string
}

/** Declares the flags on `command`. */
export function addStopFlags(command: Command): Command {
  return command
    .option('-s, --signal <signal>', 'what asks it to end; default: its stop signal')
    .option('-t, --timeout <seconds>', 'how long to wait before killing; -1 waits for ever')
    .addOption(new Option('--time <seconds>', "older docker's --timeout").hideHelp())
}

/** @throws TsrunError invalid */
export function toStopOptions({ timeout, time, signal }: StopFlags): StopOptions {
  const seconds = timeout ?? time
  return {
    ...(seconds === undefined ? {} : { timeoutSeconds: parseWholeNumber('--timeout', seconds, { min: -1, max: 1e9 }) }),
    ...(signal === undefined ? {} : { stopSignal: signal }),
  }
}
