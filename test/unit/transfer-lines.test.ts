import { describe, expect, test, vi } from 'vitest'
import { bar, liveLine, plainLine, TransferLines } from '../../src/cli/transfer-lines.ts'
import type { TransferState } from '../../src/engine/image/transfer-events.ts'
import type { Digest } from '../../src/model/image.ts'

const digest = (character: string): Digest => `sha256:${character.repeat(64)}` as Digest
const event = (character: string, state: TransferState, current?: number, total?: number) => ({
  kind: 'layer' as const,
  digest: digest(character),
  state,
  ...(current === undefined ? {} : { current }),
  ...(total === undefined ? {} : { total }),
})

describe('bar()', () => {
  test.each([
    [0, 10, '[>         ]'],
    [5, 10, '[=====>    ]'],
    [9.9, 10, '[=========>]'],
    [10, 10, '[==========]'],
    [20, 10, '[==========]'],
    [0, 0, '[==========]'],
  ])('%d of %d', (current, total, expected) => {
    expect(bar(current, total, 10)).toBe(expected)
  })
})

describe('liveLine()', () => {
  test.each([20, 30, 40, 80, 200])('stays within %d columns', columns => {
    for (const current of [0, 1, 999_999, 123_456_789])
      expect(liveLine(event('a', 'downloading', current, 123_456_789), 'pull', columns).length).toBeLessThan(columns)
  })

  test('has the bar where there is room for one', () => {
    expect(liveLine(event('a', 'downloading', 5e6, 10e6), 'pull', 60)).toBe(
      'aaaaaaaaaaaa: Downloading [==========>          ]  5MB/10MB',
    )
    expect(liveLine(event('a', 'pushing', 5e6, 10e6), 'push', 38)).toBe('aaaaaaaaaaaa: Pushing 5MB/10MB')
  })
})

test('a pipe gets one line for each step, in the words of docker', () => {
  const out = { write: vi.fn() }
  const lines = new TransferLines(out, 'pull')
  for (const state of ['waiting', 'downloading', 'downloading', 'downloaded', 'extracting', 'complete'] as const)
    lines.layer(event('a', state, 1, 2))
  lines.layer(event('b', 'exists'))
  lines.end()

  expect(out.write.mock.calls.map(([text]) => text).join('')).toBe(
    ['a: Pulling fs layer', 'a: Download complete', 'a: Pull complete', 'b: Already exists']
      .map(line => `${line.replace(/^./, character => character.repeat(12))}\n`)
      .join(''),
  )
})

test('plainLine() of a push', () => {
  expect(plainLine(event('a', 'exists'), 'push')).toBe('aaaaaaaaaaaa: Layer already exists')
  expect(plainLine({ ...event('a', 'mounted'), from: 'team/app' }, 'push')).toBe('aaaaaaaaaaaa: Mounted from team/app')
  expect(plainLine(event('a', 'pushing', 1, 2), 'push')).toBeUndefined()
})

describe('a terminal', () => {
  /** What is on a screen after some text, as far as we use it. */
  function screen(text: string): string[] {
    const rows: string[] = ['']
    let at = 0
    for (const [part = ''] of text.replaceAll('\x1b', '~').matchAll(/~\[\d*[A-Z]|\r|\n|[^~\r\n]+/g)) {
      if (part === '\n') rows[++at] ??= ''
      else if (part.endsWith('A') && part.startsWith('~')) at -= Number(part.slice(2, -1))
      else if (part === '~[J') rows.length = at + 1
      else if (!part.startsWith('~') && part !== '\r') rows[at] = part
    }
    return rows.filter(row => row !== '')
  }

  test('shows each layer on its own line, however often it changes', () => {
    const out = { text: '', isTTY: true, columns: 80, rows: 24, write: (text: string) => (out.text += text) }
    const lines = new TransferLines(out, 'pull')

    for (const layer of ['a', 'b', 'c']) lines.layer(event(layer, 'waiting'))
    lines.layer(event('b', 'complete'))
    lines.layer(event('a', 'complete'))
    lines.layer(event('c', 'extracting'))
    lines.end()

    expect(screen(out.text)).toEqual([
      'aaaaaaaaaaaa: Pull complete',
      'bbbbbbbbbbbb: Pull complete',
      'cccccccccccc: Extracting',
    ])
  })

  test('with fewer rows than there are layers loses none of them', async () => {
    const out = { text: '', isTTY: true, columns: 80, rows: 4, write: (text: string) => (out.text += text) }
    const lines = new TransferLines(out, 'pull')
    const layers = [...'abcdef0123']

    for (const state of ['waiting', 'complete'] as const) {
      for (const layer of layers) lines.layer(event(layer, state))
      await new Promise(resolve => setTimeout(resolve, 120))
    }
    lines.end()

    for (const layer of layers) expect(screen(out.text)).toContain(`${layer.repeat(12)}: Pull complete`)
  })
})
