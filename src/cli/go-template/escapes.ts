// Text made safe for where it goes, each as Go's function of that name does it.

const htmlEscapes: ReadonlyMap<string, string> = new Map([
  ['"', '&#34;'],
  ["'", '&#39;'],
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['\0', '\ufffd'],
])

/** For HTML text and attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/["'&<>\0]/g, char => htmlEscapes.get(char) ?? char)
}

/** For the inside of a JavaScript string. */
export function escapeJs(text: string): string {
  return text.replace(/[\\'"<>&=]|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, char => {
    if ('\\\'"'.includes(char)) return `\\${char}`
    const point = char.codePointAt(0) ?? 0
    return `\\u${point.toString(16).toUpperCase().padStart(4, '0')}`
  })
}

/** For a value in a URL's query. */
export function escapeQuery(text: string): string {
  // By bytes: encodeURIComponent throws on half a surrogate pair.
  return Buffer.from(text)
    .toString('latin1')
    .replace(/[^A-Za-z0-9\-_.~]/g, byte => {
      if (byte === ' ') return '+'
      return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
    })
}

const shortEscapes: ReadonlyMap<string, string> = new Map([
  ['\x07', '\\a'],
  ['\b', '\\b'],
  ['\f', '\\f'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
  ['\v', '\\v'],
])

/** A Go constant. @param quote the quotation mark around it @param ascii escape everything else too */
export function quoteGo(text: string, quote: '"' | "'", ascii = false): string {
  const escaped = text.replace(/[\\"']|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]|[^\0-\x7f]/gu, char => {
    if (char === '\\' || char === quote) return `\\${char}`
    const point = char.codePointAt(0) ?? 0
    if (/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u.test(char) && (point < 0x80 || !ascii)) return char
    const short = shortEscapes.get(char)
    if (short !== undefined) return short
    if (point < 0x80) return `\\x${point.toString(16).padStart(2, '0')}`
    return point < 0x10000 ? `\\u${point.toString(16).padStart(4, '0')}` : `\\U${point.toString(16).padStart(8, '0')}`
  })
  return `${quote}${escaped}${quote}`
}
