/**
 * @module devices/webgpu/wgsl/library-options
 * Which library a kernel gets: of a fast pass or a recording one, over which table and which pool.
 */

import type { PoolShape, TableLayout } from "./layout.ts";

/**
 * A function of the library for one value of an argument, which program.ts calls where the text has
 * that value: `ptr_at_2(p, i, 4u)` shifts by 2, `arg_ptr_3(3u)` is the argument 3. Not every
 * compiler finds that out, and then each address costs twice the operations.
 */
export interface SpecialForm {
  readonly name: string;
  readonly number: number;
}

export interface LibraryOptions {
  readonly isRecording: boolean;
  /** The pool is an array of atomics then. */
  readonly usesAtomics: boolean;
  /** An invocation stores nothing any more when it has missed, or has run out of fuel. */
  readonly isGated: boolean;
  readonly specialForms: readonly SpecialForm[];
  /** The text has elements: ptr_at_item. */
  readonly usesItems: boolean;
  readonly table: TableLayout;
  readonly pool: PoolShape;
}
