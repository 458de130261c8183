// Numbers as Go's strconv writes them. Ties go to the even digit, where JavaScript rounds up.

/** Whether Go would hold it as an integer: whole, and within 64 bits. */
export function isWhole(value: unknown): value is number {
  return Number.isInteger(value) && Math.abs(Number(value)) < 2 ** 64
}

/** As `%v`. */
export function formatNumber(value: number): string {
  if (isWhole(value)) return String(BigInt(value))
  return `${value < 0 ? '-' : ''}${formatFloat('g', Math.abs(value), undefined)}`
}

/** @param verb one of v, e, E, f, F, g, G @param size not negative @param precision undefined for the verb's default */
export function formatFloat(verb: string, size: number, precision: number | undefined): string {
  if (!Number.isFinite(size)) return Number.isNaN(size) ? 'NaN' : '+Inf'
  if (verb === 'f' || verb === 'F') return fixed(size, precision ?? 6)
  const text = verb === 'e' || verb === 'E' ? exponential(size, precision ?? 6) : general(size, precision)
  return verb === 'E' || verb === 'G' ? text.toUpperCase() : text
}

/** What toFixed and toExponential can do. */
const mostDigits = 100

function fixed(size: number, precision: number): string {
  const digits = Math.min(precision, mostDigits)
  const filled = (text: string) => (precision === 0 ? text : `${text}${'0'.repeat(precision - digits)}`)
  // From 1e21 on toFixed gives up, and there is nothing behind the point.
  if (size >= 1e21) return filled(`${BigInt(size)}${digits > 0 ? `.${'0'.repeat(digits)}` : ''}`)
  return filled(evenAtTie(size.toFixed(digits), size.toFixed(mostDigits), digits))
}

function exponential(size: number, precision: number): string {
  const [mantissa, exponent] = scientific(size, Math.min(precision, mostDigits))
  return withExponent(`${mantissa}${'0'.repeat(Math.max(0, precision - mostDigits))}`, exponent)
}

/** The shorter of both forms. Without a precision: the fewest digits that name the number. */
function general(size: number, precision: number | undefined): string {
  const wanted = precision === undefined ? undefined : Math.min(Math.max(precision, 1), mostDigits)
  const [mantissa, exponent] = scientific(size, wanted === undefined ? undefined : wanted - 1)
  const digits = mantissa.replace('.', '').replace(/0+$/, '') || '0'
  // With fewer digits than wanted, the fewer count; without a wish it is 6.
  const threshold =
    wanted === undefined ? 6 : wanted > digits.length && digits.length > exponent ? digits.length : wanted
  if (exponent < -4 || exponent >= threshold)
    return withExponent(digits.length === 1 ? digits : `${digits[0]}.${digits.slice(1)}`, exponent)
  if (exponent < 0) return `0.${'0'.repeat(-exponent - 1)}${digits}`
  const rest = digits.slice(exponent + 1)
  return `${digits.slice(0, exponent + 1).padEnd(exponent + 1, '0')}${rest === '' ? '' : `.${rest}`}`
}

function scientific(size: number, digits: number | undefined): [mantissa: string, exponent: number] {
  const [rounded = '', exponent = '0'] = size.toExponential(digits).split('e')
  if (digits === undefined) return [rounded, Number(exponent)]
  const [exact = '', exactExponent] = size.toExponential(mostDigits).split('e')
  // Rounded up to the next power of ten, it was no tie that an even digit could win.
  const mantissa = exponent === exactExponent ? evenAtTie(rounded, exact, digits) : rounded
  return [mantissa, Number(exponent)]
}

/** @param exact with all its digits @param digits how many there are behind the point in `rounded` */
function evenAtTie(rounded: string, exact: string, digits: number): string {
  const end = exact.indexOf('.') + 1 + digits
  const cut = digits === 0 ? exact.slice(0, end - 1) : exact.slice(0, end)
  const tie = /^50*$/.test(exact.slice(end))
  return tie && Number(cut.at(-1)) % 2 === 0 ? cut : rounded
}

/** Go writes two digits at least: `1e-07`. */
function withExponent(mantissa: string, exponent: number): string {
  return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
}
