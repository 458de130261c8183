import type { Command } from 'commander'
import { preflight } from '../../engine/doctor.ts'
import { print } from '../print.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('doctor')
    .description('Report what this machine lacks for tsrun, and how to get it. Changes nothing.')
    .option('--format <format>', 'json')
    .addHelpText('after', '\nExample:\n  tsrun doctor')
    .action((flags: { format?: string }) => {
      const checks = preflight()
      const failed = checks.some(check => !check.ok && check.severity === 'required')
      if (flags.format === 'json') print(`${JSON.stringify(checks, null, 2)}\n`)
      else {
        for (const check of checks) {
          const mark = check.ok ? 'ok  ' : check.severity === 'required' ? 'FAIL' : 'note'
          print(`${mark}  ${check.name}: ${check.detail}\n`)
          if (!check.ok && check.remedy !== undefined) print(`      -> ${check.remedy}\n`)
        }
        print(failed ? '\ntsrun cannot run here yet.\n' : '\ntsrun can run here.\n')
      }
      if (failed) exit(1)
    })
}
