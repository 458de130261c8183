// Questions on the terminal. What is a secret is not shown.

import { createInterface } from 'node:readline/promises'
import { TsrunError } from '../model/errors.ts'

/** Asks and gives the line. */
export async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await lines.question(question)).trim()
  } finally {
    lines.close()
  }
}

/** Asks without showing what is typed. @throws TsrunError when it is given up with Ctrl-C or Ctrl-D */
export async function askSecret(question: string): Promise<string> {
  const { stdin, stderr } = process
  stderr.write(question)
  stdin.setRawMode(true)
  stdin.resume()
  try {
    return await readSecret()
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write('\n')
  }
}

function readSecret(): Promise<string> {
  return new Promise((resolve, reject) => {
    const bytes: number[] = []
    const finish = (act: () => void): void => {
      process.stdin.off('data', onData)
      act()
    }
    const onData = (chunk: Buffer): void => {
      for (const byte of chunk) {
        if (byte === 0x0d || byte === 0x0a) finish(() => resolve(Buffer.from(bytes).toString('utf8')))
        else if (byte === 0x03 || byte === 0x04) finish(() => reject(interrupted()))
        else if (byte === 0x7f || byte === 0x08) dropLast(bytes)
        else bytes.push(byte)
      }
    }
    process.stdin.on('data', onData)
  })
}

/** The last character, which may have several bytes. */
function dropLast(bytes: number[]): void {
  let byte = bytes.pop()
  while (byte !== undefined && (byte & 0xc0) === 0x80) byte = bytes.pop()
}

function interrupted(): TsrunError {
  return new TsrunError('invalid', 'interrupted', 'cannot log in: it was interrupted')
}
