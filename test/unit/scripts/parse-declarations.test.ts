// What scripts/gen-api.ts reads: declarations as tsc prints them.

import { expect, test } from 'vitest'
import { parseDeclarations } from '../../../scripts/parse-declarations.ts'

const source = `import type { A } from './a.ts';
/** One
 * thing. */
export interface Thing extends A {
    /** Its name. */
    readonly name: string;
    readonly parts?: {
        readonly a: string;
    };
}
interface Own {
}
export type Word = 'a'
/** Also. */
 | 'b';
/** Makes one. */
export declare function make(name: string): Thing;
export declare class Box {
    #private;
    /** @internal */
    constructor(a: A);
    /**
     * Opens it.
     * @throws Error when it is locked
     */
    open(options?: {
        force?: boolean;
    }): Promise<void>;
    get size(): number;
    [Symbol.asyncDispose](): Promise<void>;
}
export declare const answer = 42;
`

test('parseDeclarations() finds each declaration with its docstring', () => {
  const found = parseDeclarations(source).map(({ name, kind, isExported, doc }) => [name, kind, isExported, doc])

  expect(found).toEqual([
    ['Thing', 'interface', true, 'One\nthing.'],
    ['Own', 'interface', false, ''],
    ['Word', 'type', true, ''],
    ['make', 'function', true, 'Makes one.'],
    ['Box', 'class', true, ''],
    ['answer', 'const', true, ''],
  ])
})

test('parseDeclarations() finds members, also over several lines', () => {
  const members = (name: string) => parseDeclarations(source).find(each => each.name === name)?.members

  expect(members('Thing')).toEqual([
    { name: 'name', doc: 'Its name.', text: 'readonly name: string' },
    { name: 'parts', doc: '', text: 'readonly parts?: {\n    readonly a: string;\n}' },
  ])
  expect(members('Box')?.map(({ name, doc }) => [name, doc])).toEqual([
    ['#private', ''],
    ['constructor', '@internal'],
    ['open', 'Opens it.\n@throws Error when it is locked'],
    ['size', ''],
    ['[Symbol.asyncDispose', ''],
  ])
  expect(parseDeclarations(source).find(each => each.name === 'Word')?.head).toContain("| 'b'")
})
