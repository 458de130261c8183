// Points as an SVG: one axis each way, from zero, and nothing that a reader has to look up.

/** A picture of one or more series over the same axes. */
export interface Plot {
  /** Name of the file, without `.svg`. */
  readonly file: string
  readonly title: string
  readonly x: string
  readonly y: string
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[]
}

const width = 640
const height = 320
const margin = { left: 56, right: 16, top: 36, bottom: 44 }
const colours = ['#1f6feb', '#d1570a', '#1a7f37', '#8250df']

/** The whole file. */
export function plotSvg({ title, x, y, series }: Plot): string {
  const points = series.flatMap(each => each.points)
  const xTicks = ticksTo(Math.max(1, ...points.map(([at]) => at)))
  const yTicks = ticksTo(Math.max(1, ...points.map(([, value]) => value)))
  const toX = scale(xTicks.at(-1) ?? 1, margin.left, width - margin.right)
  const toY = scale(yTicks.at(-1) ?? 1, height - margin.bottom, margin.top)
  const parts = [
    text(width / 2, 20, title, 'font-weight="bold" text-anchor="middle"'),
    text((margin.left + width - margin.right) / 2, height - 8, x, 'text-anchor="middle"'),
    text(14, height / 2, y, `text-anchor="middle" transform="rotate(-90 14 ${height / 2})"`),
    ...yTicks.map(tick => line(margin.left, toY(tick), width - margin.right, toY(tick), '#ddd')),
    ...yTicks.map(tick => text(margin.left - 6, toY(tick) + 4, String(tick), 'text-anchor="end"')),
    ...xTicks.map(tick => text(toX(tick), height - margin.bottom + 16, String(tick), 'text-anchor="middle"')),
    line(margin.left, toY(0), width - margin.right, toY(0), '#333'),
    ...series.flatMap(({ name, points: own }, index) => {
      const colour = colours[index % colours.length] ?? '#000'
      const place = ([at, value]: readonly [number, number]) => `${round(toX(at))},${round(toY(value))}`
      return [
        `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${own.map(place).join(' ')}"/>`,
        text(margin.left + 8 + index * 150, margin.top + 2, name, `fill="${colour}"`),
      ]
    }),
  ]
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<title>${escapeText(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
${parts.join('\n')}
</svg>
`
}

/** Zero, and at most six round steps that reach `most`. */
export function ticksTo(most: number): number[] {
  const raw = most / 5
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = ([1, 2, 5, 10].find(factor => factor * power >= raw) ?? 10) * power
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, index) => Number((index * step).toPrecision(6)))
}

function scale(most: number, from: number, to: number): (value: number) => number {
  return value => from + ((to - from) * value) / most
}

function line(x1: number, y1: number, x2: number, y2: number, colour: string): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${colour}"/>`
}

function text(x: number, y: number, words: string, attributes: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escapeText(words)}</text>`
}

const escapeText = (words: string) => words.replace(/&/g, '&amp;').replace(/</g, '&lt;')
const round = (value: number) => Math.round(value * 10) / 10
