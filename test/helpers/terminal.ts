// A real terminal for the tests, made by script(1), which every Debian has: the program under test is the foreground
// process of a session with a pty, whose other end the test reads and types into.

import { mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CommandOptions, eventually, type Running, start, succeed } from './command.ts'

export interface TerminalOptions extends CommandOptions {
  readonly rows?: number
  readonly columns?: number
}

export interface Terminal {
  readonly running: Running
  /** The program's end, e.g. `/dev/pts/3`. */
  readonly device: string
  /** Everything shown so far. */
  output(): string
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>
  /** Types: `\r` is Enter, `\x03` is Ctrl-C. */
  type(text: string): void
  resize(rows: number, columns: number): Promise<void>
  /** The terminal's settings now, as `stty -a` prints them. */
  settings(): Promise<string>
  /** Waits for the end of the program: its exit code, and the terminal's settings before and after it. */
  finished(): Promise<{ code: number | null; before: string; after: string }>
  /** Closes the window: the session gets SIGHUP. */
  close(): Promise<void>
}

/** Starts `command` in a terminal. `options.dir` is where it may put its notes. */
export async function openTerminal(
  command: readonly string[],
  options: TerminalOptions & { dir: string },
): Promise<Terminal> {
  const { dir, rows = 24, columns = 80, ...rest } = options
  const notes = mkdtempSync(join(dir, 'terminal-'))
  const session = [
    // Ctrl-C reaches the shell too: it goes on, and the command finds the signal as it was.
    'trap : INT QUIT',
    `stty rows ${rows} cols ${columns}`,
    `stty -g > ${notes}/before`,
    `tty > ${notes}/device.new && mv ${notes}/device.new ${notes}/device`,
    command.map(quote).join(' '),
    'code=$?',
    `stty -g > ${notes}/after`,
    'exit $code',
  ].join('; ')
  // Its shell is told by SHELL, which must not be the developer's.
  const env = { ...rest.env, SHELL: '/bin/sh', TERM: 'xterm' }
  const running = start(['script', '-qefc', session, '/dev/null'], { ...rest, env })
  const note = (name: string) => readFileSync(join(notes, name), 'utf8').trim()
  const device = await eventually('the terminal is open', () => {
    try {
      return note('device')
    } catch {
      if (running.child.exitCode !== null) throw new Error(`script(1) ended: ${running.output()}`)
      return undefined
    }
  })

  return {
    running,
    device,
    output: () => running.output(),
    waitFor: (pattern, timeoutMs) => running.waitFor(pattern, timeoutMs),
    type: text => running.write(text),
    resize: async (newRows, newColumns) => {
      await succeed(['stty', '-F', device, 'rows', String(newRows), 'cols', String(newColumns)])
    },
    settings: () => succeed(['stty', '-F', device, '-a']),
    finished: async () => {
      const { code } = await running.result
      return { code, before: note('before'), after: note('after') }
    },
    close: async () => {
      running.kill('SIGKILL')
      await running.result.catch(() => {})
    },
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}
