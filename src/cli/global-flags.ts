// The flags that stand before the verb: tsrun's own, and docker's, so that scripts which give them go on working.

import { TsrunError } from '../model/errors.ts'

interface GlobalFlag {
  readonly takesValue: boolean
  /** @param value empty for a flag without one */
  readonly apply: (value: string) => void
}

const setting = (variable: string): GlobalFlag => ({
  takesValue: true,
  apply: value => {
    process.env[variable] = value
  },
})

const debug: GlobalFlag = {
  takesValue: false,
  apply: () => {
    process.env.TSRUN_DEBUG = '1'
  },
}

const logLevel: GlobalFlag = {
  takesValue: true,
  apply: value => {
    if (value === 'debug') debug.apply('')
    else if (!['info', 'warn', 'error', 'fatal'].includes(value))
      throw new TsrunError('invalid', 'log-level', `invalid value "${value}" for --log-level`, {
        hint: 'debug, info, warn, error or fatal',
      })
  },
}

const noDaemon = (flag: string, harmless?: string): GlobalFlag => ({
  takesValue: true,
  apply: value => {
    if (value === harmless) return
    throw new TsrunError('unsupported', 'flag', `cannot use ${flag} ${value}: there is no daemon to speak to`, {
      hint: 'leave it out; --root and --state choose another engine on this machine',
    })
  },
})

const context = noDaemon('--context', 'default')
const host = noDaemon('--host')

const flags: ReadonlyMap<string, GlobalFlag> = new Map([
  ['--root', setting('TSRUN_ROOT')],
  ['--state', setting('TSRUN_STATE')],
  ['--userns-remap', setting('TSRUN_USERNS_REMAP')],
  ['--config', setting('DOCKER_CONFIG')],
  ['--debug', debug],
  ['-D', debug],
  ['--log-level', logLevel],
  ['-l', logLevel],
  ['--context', context],
  ['-c', context],
  ['--host', host],
  ['-H', host],
])

/** Applies them. @returns the words from the verb on @throws TsrunError invalid, unsupported */
export function takeGlobalFlags(argv: readonly string[]): readonly string[] {
  let index = 0
  for (; index < argv.length; index += 1) {
    const [name = '', attached] = (argv[index] ?? '').split(/=(.*)/s)
    // `-root` as well, as Go has it.
    const flag = flags.get(name) ?? (name.startsWith('-') ? flags.get(`-${name}`) : undefined)
    if (flag === undefined || (attached !== undefined && !flag.takesValue)) break
    if (flag.takesValue && attached === undefined) index += 1
    const value = attached ?? argv[index]
    if (flag.takesValue && !value) throw new TsrunError('invalid', 'flag', `${name} needs a value`)
    flag.apply(value ?? '')
  }
  return argv.slice(index)
}
