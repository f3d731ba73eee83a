/**
 * @module The walk in C (native/walk.c): gets a copy of the kernel heap and runs on it. Only where
 * the program's entries have the checksum of ours is its time worth anything.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { HmmRange } from "../src/hmm/range/range.ts";
import type { AddressSpace } from "../src/index.ts";
import { NativeProgram } from "./native-program.ts";
import { inside } from "../test/inside.ts";

export class NativeWalk {
  readonly #program: NativeProgram;
  readonly #args: readonly (string | number)[];
  readonly #checksum: string;

  private constructor(
    program: NativeProgram,
    args: readonly (string | number)[],
    checksum: string,
  ) {
    this.#program = program;
    this.#args = args;
    this.#checksum = checksum;
  }

  /**
   * For the table of `space` as it is now and the entries in `range.pfns`, which a walk has just
   * written. A string says why there is none.
   */
  static make(space: AddressSpace, range: HmmRange): NativeWalk | string {
    const program = NativeProgram.make("walk");
    if (typeof program === "string") return program;
    const { words } = inside(space).machine.memory;
    const heap = join(program.folder, "heap");
    writeFileSync(heap, new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
    const { flags, pfnShift } = range.encoding;
    const { startPage, pfns } = range;
    const args = [
      heap,
      inside(space).mm.pgd,
      startPage,
      pfns.length,
      flags.valid,
      flags.write,
      pfnShift,
    ];
    return new NativeWalk(program, args, checksumOf(pfns));
  }

  /** Nanoseconds of each of `walks` walks. */
  run(walks: number): number {
    const [ns = "", checksum = ""] = this.#program.run([...this.#args, walks]);
    if (checksum !== this.#checksum) {
      throw new Error(
        `the walk in C wrote other entries: checksum ${checksum}, ours ${this.#checksum}`,
      );
    }
    return Number(ns);
  }

  dispose(): void {
    this.#program.dispose();
  }
}

/** FNV-1a over whole entries. */
function checksumOf(entries: Uint32Array): string {
  let hash = 0x811c9dc5;
  for (const entry of entries) hash = Math.imul(hash ^ entry, 0x01000193);
  return (hash >>> 0).toString(16);
}
