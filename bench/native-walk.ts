/**
 * @module The walk in C: compiles native/walk.c with whatever C compiler there is, hands it a copy
 * of the kernel heap and runs it. Only where the program's entries have the checksum of ours is its
 * time worth anything.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { HmmRange } from "../src/hmm/range/range.ts";
import type { AddressSpace } from "../src/index.ts";

/** From .build/bench/ to the source, which no compiler copies. */
const SOURCE: string = fileURLToPath(new URL("../../bench/native/walk.c", import.meta.url));
const COMPILERS = ["cc", "gcc", "clang"];

export class NativeWalk {
  readonly #folder: string;
  readonly #args: readonly string[];
  readonly #checksum: string;

  private constructor(folder: string, args: readonly string[], checksum: string) {
    this.#folder = folder;
    this.#args = args;
    this.#checksum = checksum;
  }

  /**
   * For the table of `space` as it is now and the entries in `range.pfns`, which a walk has just
   * written. A string says why there is none.
   */
  static make(space: AddressSpace, range: HmmRange): NativeWalk | string {
    const folder = mkdtempSync(join(tmpdir(), "hmm-bench-"));
    const compiler = COMPILERS.find((name) => compiles(name, join(folder, "walk")));
    if (compiler === undefined) {
      rmSync(folder, { recursive: true });
      return "no C compiler";
    }
    const { words } = space.machine.memory;
    writeFileSync(
      join(folder, "heap"),
      new Uint8Array(words.buffer, words.byteOffset, words.byteLength),
    );
    const { flags, pfnShift } = range.encoding;
    const numbers = [
      space.mm.pgd,
      range.startPage,
      range.pfns.length,
      flags.valid,
      flags.write,
      pfnShift,
    ];
    return new NativeWalk(
      folder,
      [join(folder, "heap"), ...numbers.map(String)],
      checksumOf(range.pfns),
    );
  }

  /** Nanoseconds of each of `walks` walks. */
  run(walks: number): number {
    const output = execFileSync(join(this.#folder, "walk"), [...this.#args, String(walks)], {
      encoding: "utf8",
    });
    const [ns = "", checksum = ""] = output.trim().split(" ");
    if (checksum !== this.#checksum) {
      throw new Error(
        `the walk in C wrote other entries: checksum ${checksum}, ours ${this.#checksum}`,
      );
    }
    return Number(ns);
  }

  dispose(): void {
    rmSync(this.#folder, { recursive: true });
  }
}

function compiles(compiler: string, output: string): boolean {
  return (
    spawnSync(compiler, ["-std=c11", "-O2", "-o", output, SOURCE], { stdio: "ignore" }).status === 0
  );
}

/** FNV-1a over whole entries. */
function checksumOf(entries: Uint32Array): string {
  let hash = 0x811c9dc5;
  for (const entry of entries) hash = Math.imul(hash ^ entry, 0x01000193);
  return (hash >>> 0).toString(16);
}
