// Declaring the hundred flags of `run` takes longer than making its network: a command that knows the words it is going
// to parse declares only the flags that these words can mean. Help texts and errors are for a command with all of them:
// main.ts begins again with a plain one.

import { Command } from 'commander'

/** A Command that leaves out the flags that its words do not mention. */
export class LeanCommand extends Command {
  readonly #words: readonly string[]

  /** @param words what is going to be parsed, as typed */
  constructor(words: readonly string[], name?: string) {
    super(name)
    this.#words = words.filter(word => word.startsWith('-'))
  }

  override createCommand(name?: string): Command {
    return new LeanCommand(this.#words, name)
  }

  override option(flags: string, description?: string, ...more: unknown[]): this {
    // One with a default means something when it is not given, too.
    const hasDefault = more.some(value => value !== undefined && typeof value !== 'function')
    if (!hasDefault && !this.mentions(flags)) return this
    return Reflect.apply(super.option, this, [flags, description, ...more])
  }

  /** Whether the words may mean the option of these flags (`-p, --publish <port>`). Says yes too often, never too seldom. */
  mentions(flags: string): boolean {
    const [first = '', second = ''] = flags.split(', ', 2)
    const [long = ''] = (second === '' ? first : second).split(' ', 1)
    // Such a flag is set when it is not given.
    if (long.startsWith('--no-')) return true
    const name = long.slice('--'.length)
    const letter = second === '' ? undefined : first.slice(1)
    return this.#words.some(word => {
      const isShort = word[1] !== '-'
      if (isShort && letter !== undefined && word.includes(letter)) return true
      const start = isShort ? 1 : word.startsWith('--no-') ? '--no-'.length : 2
      return word.startsWith(name, start)
    })
  }
}
