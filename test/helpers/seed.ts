// Where all that tests draw at random begins: the same in every run, so that a change is judged by what it does and not by the
// luck of the day. TSRUN_SEED=N begins elsewhere; `scripts/fuzz` draws a new one each time.

const fixed = 20_250

/** 32 bits. */
export const seed = read(process.env.TSRUN_SEED)

function read(text: string | undefined): number {
  if (text === undefined) return fixed
  if (!/^\d{1,10}$/.test(text) || Number(text) >= 2 ** 32)
    throw new Error(`TSRUN_SEED: "${text}" is no number of 32 bits`)
  return Number(text)
}
