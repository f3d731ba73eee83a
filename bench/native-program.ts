/**
 * @module A program in C that a figure is compared with: one of native/, compiled at -O2 with
 * whatever C compiler there is, in a folder of its own that goes with it.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const COMPILERS = ["cc", "gcc", "clang"];

export class NativeProgram {
  readonly folder: string;
  readonly #program: string;

  private constructor(folder: string, program: string) {
    this.folder = folder;
    this.#program = program;
  }

  /** Of native/`name`.c. A string says why there is none. */
  static make(name: string): NativeProgram | string {
    const folder = mkdtempSync(join(tmpdir(), "hmm-bench-"));
    const program = join(folder, name);
    // From .build/bench/ to the source, which no compiler copies.
    const source = fileURLToPath(new URL(`../../bench/native/${name}.c`, import.meta.url));
    if (COMPILERS.some((compiler) => compiles(compiler, source, program)))
      return new NativeProgram(folder, program);
    rmSync(folder, { recursive: true });
    return "no C compiler that compiles it";
  }

  /** The words that the program prints. */
  run(args: readonly (string | number)[]): string[] {
    const output = execFileSync(this.#program, args.map(String), { encoding: "utf8" });
    return output.trim().split(" ");
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true });
  }
}

function compiles(compiler: string, source: string, program: string): boolean {
  const args = ["-std=c11", "-O2", "-o", program, source];
  return spawnSync(compiler, args, { stdio: "ignore" }).status === 0;
}
