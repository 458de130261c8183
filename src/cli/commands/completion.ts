import { Argument, type Command } from 'commander'
import { bashScript } from '../completion/bash.ts'
import { fishScript } from '../completion/fish.ts'
import { type Place, readPlaces, type Verb } from '../completion/model.ts'
import { zshScript } from '../completion/zsh.ts'
import { print } from '../print.ts'

const scripts: Readonly<Record<string, (places: readonly Place[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
}

/** The verb over the registry's entries, which it cannot import: the registry imports it. */
export function completion(verbs: () => readonly Verb[]): { register(program: Command): Command } {
  return {
    register: program =>
      program
        .command('completion')
        .description('Print a script that lets a shell complete commands, flags and names.')
        .addArgument(new Argument('<shell>', 'which shell').choices(Object.keys(scripts)))
        .addHelpText(
          'after',
          `
Examples:
  source <(tsrun completion bash)
  tsrun completion zsh >~/.zsh/completions/_tsrun
  tsrun completion fish >~/.config/fish/completions/tsrun.fish`,
        )
        .action(async (shell: string) => {
          print(scripts[shell]?.(await readPlaces(verbs())) ?? '')
        }),
  }
}
