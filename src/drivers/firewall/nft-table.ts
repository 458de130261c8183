// One table of ours over nfnetlink: elements in, elements out, and changes that depend on what was read before.
// A transaction costs 10-40 us whatever stands there already, but one that the kernel refuses waits for an RCU grace
// period (8-16 ms): what is likely to be refused is asked for first. The refusal stays what is relied on.

import { errno, hasCode } from '../../ffi/errno.ts'
import { record, shellQuote } from '../../kernel/explain.ts'
import {
  addElement,
  concatenate,
  deleteElement,
  dumpElements,
  elementText,
  getElement,
  parseElements,
  type SetElement,
  type StoredElement,
} from '../../kernel/nftables/elements.ts'
import {
  NFPROTO_INET,
  type NfFailure,
  type NfMessage,
  Nfnetlink,
  throwFailure,
} from '../../kernel/nftables/nfnetlink.ts'
import { listTables } from '../../kernel/nftables/ruleset.ts'

/** An element to add: refused when its key is there, or, unless `exclusive`, when it is there with other data. */
export interface Addition {
  readonly element: SetElement
  readonly exclusive: boolean
}

export class NftTable {
  readonly name: string
  #open: Nfnetlink | undefined

  constructor(name: string) {
    this.name = name
  }

  /** Opened by the first use, in the namespace of that moment. */
  get socket(): Nfnetlink {
    this.#open ??= new Nfnetlink()
    return this.#open
  }

  /** Forgets the socket, if there is one. @returns its descriptor, now the caller's */
  detach(): number | undefined {
    const fd = this.#open?.fd
    this.#open = undefined
    return fd
  }

  close(): void {
    this.#open?.close()
    this.#open = undefined
  }

  stands(): boolean {
    return listTables(this.socket, NFPROTO_INET).includes(this.name)
  }

  /** Adds all elements or none. @returns what was refused, by index */
  add(additions: readonly Addition[]): NfFailure[] {
    record(() => nftCommand(additions.map(({ element, exclusive }) => this.#addText(element, exclusive))))
    return this.socket.transaction(additions.map(({ element, exclusive }) => addElement(this.name, element, exclusive)))
  }

  /** How many elements some sets have beside `own`. */
  countOthers(sets: readonly string[], own: readonly SetElement[]): number {
    const keys = own.map(element => concatenate(element.key))
    return sets.flatMap(set => this.list(set)).filter(({ key }) => !keys.some(known => known.equals(key))).length
  }

  /** The messages that delete elements, to be sent with others. */
  deletions(elements: readonly SetElement[]): NfMessage[] {
    if (elements.length > 0) record(() => nftCommand(elements.map(element => this.#deleteText(element))))
    return elements.map(element => deleteElement(this.name, element))
  }

  /** The messages that delete some elements and add others, in this order. */
  changes(gone: readonly SetElement[], come: readonly Addition[]): NfMessage[] {
    record(() =>
      nftCommand([
        ...gone.map(element => this.#deleteText(element)),
        ...come.map(({ element, exclusive }) => this.#addText(element, exclusive)),
      ]),
    )
    return [
      ...gone.map(element => deleteElement(this.name, element)),
      ...come.map(({ element, exclusive }) => addElement(this.name, element, exclusive)),
    ]
  }

  /** Whether an element with this key is there. False when the set or the table is not. */
  has(element: SetElement): boolean {
    return this.find(element) !== undefined
  }

  /** The element with this key, or undefined when it, the set or the table is not there. */
  find(element: SetElement): StoredElement | undefined {
    try {
      return parseElements(this.socket.request(getElement(this.name, element)))[0]
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    }
  }

  /** All elements of a set, none when it is not there. */
  list(set: string): StoredElement[] {
    try {
      return parseElements(this.socket.dump(dumpElements(this.name, set)))
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return []
      throw error
    }
  }

  /** Deletes those of `elements` that are there, with the comment that they have, in one transaction. @throws SyscallError */
  deleteExisting(elements: readonly SetElement[]): void {
    let left = elements.filter(element => {
      const found = this.find(element)
      return found !== undefined && found.comment === element.comment
    })
    while (left.length > 0) {
      const failures = this.socket.transaction(this.deletions(left))
      if (failures.length === 0) return
      left = withoutMissing(left, failures)
    }
  }

  /**
   * Reads and changes as if nobody else could come between: `build` looks at the rules and returns the change, which
   * the kernel refuses (and we start over) if anything changed since. @returns what was refused for other reasons
   */
  optimistically(build: () => NfMessage[]): NfFailure[] {
    for (let attempt = 0; ; attempt++) {
      const generation = this.socket.generation()
      const failures = this.socket.transaction(build(), generation)
      if (!failures.some(failure => failure.errno === ERESTART) || attempt === 200) return failures
    }
  }

  #addText(element: SetElement, exclusive: boolean): string {
    const verb = exclusive ? 'create' : 'add'
    return `${verb} element inet ${this.name} ${element.set} { ${elementText(element)} }`
  }

  #deleteText({ set, key }: SetElement): string {
    return `delete element inet ${this.name} ${set} { ${elementText({ set, key })} }`
  }
}

/** A generation that has passed; the number is not in <errno.h>'s public part. */
const ERESTART = 85

/** `elements` without those that the kernel did not find. @throws SyscallError when something else was wrong */
function withoutMissing<T>(elements: readonly T[], failures: readonly NfFailure[]): T[] {
  if (failures.some(failure => failure.errno !== errno.ENOENT || failure.index < 0))
    throwFailure(
      'cannot delete firewall elements',
      failures.filter(failure => failure.errno !== errno.ENOENT),
    )
  const missing = new Set(failures.map(failure => failure.index))
  return elements.filter((_, index) => !missing.has(index))
}

/** One command for one transaction. */
function nftCommand(lines: readonly string[]): string {
  return `nft ${shellQuote(lines.join('; '))}`
}
