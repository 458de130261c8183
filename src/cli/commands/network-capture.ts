// `tsrun network capture`: what tcpdump and wireshark read.

import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { interruptible } from '../interrupt.ts'
import { guardStdout, printError } from '../print.ts'

interface CaptureFlags {
  readonly write?: string
  readonly count?: string
  readonly snapshotLength?: string
}

export function addCapture(network: Command): void {
  network
    .command('capture')
    .description("Record a container's traffic on all its interfaces, as a pcap file.")
    .argument('<container>')
    .option('-w, --write <file>', 'write to a file; - for standard output (default)')
    .option('-c, --count <packets>', 'end after so many packets')
    .option('-s, --snapshot-length <bytes>', 'keep only this much of each packet')
    .addHelpText(
      'after',
      '\nExamples:\n  tsrun network capture -w web.pcap web\n  tsrun network capture web | tcpdump -nr - port 80',
    )
    .action(async (name: string, flags: CaptureFlags) => {
      const isStdout = flags.write === undefined || flags.write === '-'
      if (isStdout && process.stdout.isTTY)
        throw new TsrunError('invalid', 'terminal', 'cannot write packets to a terminal', {
          hint: `use -w FILE, or read them at once: tsrun network capture ${name} | tcpdump -nr -`,
        })
      const limits = {
        ...(flags.count === undefined ? {} : { count: parseNumber('--count', flags.count, Number.MAX_SAFE_INTEGER) }),
        ...(flags.snapshotLength === undefined
          ? {}
          : { snapLength: parseNumber('--snapshot-length', flags.snapshotLength, 262_144) }),
      }
      await using engine = await Engine.open()
      // Before the file is made: a container that does not exist must not empty it.
      engine.containers.find(name)
      await interruptible(async signal => {
        const pieces = engine.containers.capture(name, { ...limits, signal, onEnd: report })
        const target = isStdout ? guardStdout() : createWriteStream(flags.write ?? '', { mode: 0o600 })
        await pipeline(Readable.from(pieces), target, { end: !isStdout })
      })
    })
}

function report({ packets, dropped }: { packets: number; dropped: number }): void {
  printError(`${packets} packets captured, ${dropped} dropped\n`)
}

function parseNumber(flag: string, text: string, maximum: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : 0
  if (value >= 1 && value <= maximum) return value
  throw new TsrunError('invalid', 'not-a-number', `${flag} wants a number from 1 to ${maximum}, not "${text}"`)
}
