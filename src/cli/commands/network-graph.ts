// `tsrun network graph`: what stands in the kernel, drawn.

import { writeFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { print } from '../print.ts'

export function addGraph(network: Command): void {
  network
    .command('graph')
    .description('Draw what of the networks really stands in the kernel, both ends of every link.')
    .argument('[name...]', 'default: all networks')
    .addOption(new Option('--format <format>', 'text, svg or json').choices(['text', 'svg', 'json']).default('text'))
    .option('-o, --output <file>', 'write to this file')
    .addHelpText('after', '\nExample:\n  tsrun network graph --format svg -o networks.svg')
    .action(async (names: string[], flags: { format: 'text' | 'svg' | 'json'; output?: string }) => {
      await using engine = await Engine.open()
      const graph = await engine.networks.graph(names)
      const text = await render(graph, flags.format)
      if (flags.output === undefined) print(text)
      else writeFileSync(flags.output, text)
    })
}

async function render(
  graph: Awaited<ReturnType<Engine['networks']['graph']>>,
  format: 'text' | 'svg' | 'json',
): Promise<string> {
  if (format === 'json') return `${JSON.stringify(graph, undefined, 2)}\n`
  if (format === 'svg') return (await import('../graph/graph-svg.ts')).renderGraphSvg(graph)
  return (await import('../graph/graph-text.ts')).renderGraphText(graph)
}
