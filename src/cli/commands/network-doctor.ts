// `tsrun network doctor`: why does the packet not arrive?

import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { printable } from '../../engine/ids.ts'
import type { Diagnosis, DiagnosisStep } from '../../engine/network/doctor/diagnosis.ts'
import { print } from '../print.ts'

export function addDoctor(network: Command, exit: (code: number) => void): void {
  network
    .command('doctor')
    .description('Find out why packets do not arrive: names the first thing that is broken, and what mends it.')
    .argument('[container]', 'look at its networks and published ports; default: at all networks')
    .argument('[target]', 'look at the path to an address, a container or a host name; :PORT for a TCP connection')
    .option('--format <format>', 'json')
    .addHelpText(
      'after',
      '\nExamples:\n  tsrun network doctor\n  tsrun network doctor web\n  tsrun network doctor web db:5432',
    )
    .action(async (container: string | undefined, target: string | undefined, flags: { format?: string }) => {
      await using engine = await Engine.open()
      const diagnoses = await engine.diagnoseNetwork(container, target)
      const text =
        flags.format === 'json' ? `${JSON.stringify(diagnoses, undefined, 2)}\n` : diagnoses.map(render).join('\n')
      print(text === '' ? 'no networks\n' : text)
      if (diagnoses.some(({ steps }) => steps.some(step => !step.ok))) exit(1)
    })
}

function render({ subject, steps }: Diagnosis): string {
  const width = Math.max(0, ...steps.map(step => step.check.length))
  return [subject, ...steps.flatMap(step => renderStep(step, width))].map(line => `${printable(line)}\n`).join('')
}

function renderStep({ check, ok, evidence, remedy }: DiagnosisStep, width: number): string[] {
  const line = `  ${ok ? '✓' : '✗'} ${check.padEnd(width)}  ${evidence}`
  return remedy === undefined || ok ? [line] : [line, `    ${' '.repeat(width)}  next: ${remedy}`]
}
