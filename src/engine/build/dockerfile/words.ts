// Words of an instruction: apart by blanks, but not by those in quotes or behind the escape character. Quotes stay, since what
// they mean is decided when variables are put in. Pure.

/** The character that takes its special meaning from the next one; `# escape=` chooses it. */
export type EscapeCharacter = '\\' | '`'

/** The words of `text`, quotes and escapes still in them. */
export function rawWords(text: string, escapeCharacter: EscapeCharacter): string[] {
  const words: string[] = []
  for (let at = skipBlanks(text, 0); at < text.length; ) {
    const end = wordEnd(text, at, escapeCharacter)
    words.push(text.slice(at, end))
    at = skipBlanks(text, end)
  }
  return words
}

/** Where the word that begins at `start` ends. A quote that is never closed ends with the text. */
export function wordEnd(text: string, start: number, escapeCharacter: EscapeCharacter): number {
  let quote = ''
  let at = start
  for (; at < text.length; at += 1) {
    const character = text.charAt(at)
    if (character === escapeCharacter && quote !== "'") at += 1
    else if (quote !== '') quote = character === quote ? '' : quote
    else if (character === '"' || character === "'") quote = character
    else if (isBlank(character)) break
  }
  return Math.min(at, text.length)
}

export function skipBlanks(text: string, start: number): number {
  let at = start
  while (at < text.length && isBlank(text.charAt(at))) at += 1
  return at
}

function isBlank(character: string): boolean {
  return character === ' ' || character === '\t' || character === '\n' || character === '\r'
}
