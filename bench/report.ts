// What the benchmark found, as Markdown, JSON and pictures under bench/results/.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Measurement, median, ratio } from './measure.ts'
import { type Plot, plotSvg } from './plot.ts'

/** Commands beside each other. */
export interface Comparison {
  readonly title: string
  /** The one that the others are ratios of. */
  readonly reference: string
  readonly measurements: readonly Measurement[]
}

/** Figures that are not times of commands. */
export interface Figures {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** How it was measured, where the columns do not say it. */
  readonly note?: string
  readonly plots?: readonly Plot[]
}

export type Result = Comparison | Figures

/** Where results are written. */
export const resultsFolder = 'bench/results'

/** Writes latest.md, latest.json and the plots. @returns the Markdown */
export function writeReport(heading: string, results: readonly Result[]): string {
  mkdirSync(resultsFolder, { recursive: true })
  const text = `# Benchmark\n\n${heading}\n${results.map(toMarkdown).join('')}`
  for (const plot of results.flatMap(plotsOf)) writeFileSync(join(resultsFolder, `${plot.file}.svg`), plotSvg(plot))
  writeFileSync(join(resultsFolder, 'latest.md'), text)
  writeFileSync(join(resultsFolder, 'latest.json'), `${JSON.stringify({ heading, results }, null, 2)}\n`)
  return text
}

/** A number as the tables show it. */
export function shown(value: number | undefined, digits = 1): string {
  return value === undefined || Number.isNaN(value) ? '-' : value.toFixed(digits)
}

function plotsOf(result: Result): readonly Plot[] {
  return 'plots' in result ? (result.plots ?? []) : []
}

function toMarkdown(result: Result): string {
  const [columns, rows] = 'measurements' in result ? comparisonTable(result) : [result.columns, result.rows]
  const lines = [
    '',
    `## ${result.title}`,
    '',
    ...('note' in result && result.note !== undefined ? [result.note, ''] : []),
    ...[columns, columns.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`),
    ...plotsOf(result).flatMap(plot => ['', `![${plot.title}](${plot.file}.svg)`]),
  ]
  return `${lines.join('\n')}\n`
}

function comparisonTable({ measurements, reference }: Comparison): [string[], string[][]] {
  const hasMemory = measurements.some(({ peakKiB }) => peakKiB !== undefined)
  const base = measurements.find(m => m.name === reference) ?? measurements[0]
  const columns = ['what', 'median ms', 'min', 'p90', 'CPU ms', `x ${base?.name ?? ''}`, 'failures']
  const rows = measurements.map(each => {
    const sorted = [...each.samplesMs].sort((a, b) => a - b)
    const p90 = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.9))]
    return [
      each.name,
      ...[median(sorted), sorted[0], p90, median(each.cpuMs)].map(value => shown(value)),
      shown(base === undefined ? undefined : ratio(each, base), 2),
      String(each.failures),
      ...(hasMemory ? [shown(each.peakKiB === undefined ? undefined : each.peakKiB / 1024)] : []),
    ]
  })
  return [hasMemory ? [...columns, 'peak MB'] : columns, rows]
}
