/**
 * @module Compiles trace.c and its parts with the system's C compiler, once for a process, and
 * runs it.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Traces, parseTraces } from "./trace-text.ts";

const SOURCES: readonly string[] = ["trace.c", "trace-draw.c", "trace-space.c"].map((name) =>
  fileURLToPath(new URL(`../../../test/linux/${name}`, import.meta.url)),
);

/** Status of trace.c where the system is not one that it can be compared with. */
const UNSUITABLE = 4;

export class TraceProgram implements Disposable {
  readonly #folder: string;
  readonly #path: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#path = join(folder, "trace");
  }

  /** Why the comparison cannot be made here; undefined when it can. */
  static obstacle(): string | undefined {
    if (process.platform !== "linux") return `this is ${process.platform}, not Linux`;
    if (process.arch !== "x64") return `the traces are for x64, this is ${process.arch}`;
    if (spawnSync("cc", ["--version"]).status !== 0) return "there is no C compiler `cc`";
    return undefined;
  }

  /** Throws what the compiler says. */
  static compile(): TraceProgram {
    const program = new TraceProgram(mkdtempSync(join(tmpdir(), "hmm-trace-")));
    try {
      execFileSync("cc", [
        "-std=gnu11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        program.#path,
        ...SOURCES,
      ]);
      return program;
    } catch (error) {
      program[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Traces `first` to `first + count - 1` of `seed`, as the running kernel answers them. Throws
   * when the program fails; a string says why it cannot run here.
   */
  run(seed: number, first: number, count: number, steps: number): Traces | string {
    const { status, stdout, stderr, error } = spawnSync(
      this.#path,
      [seed, first, count, steps].map(String),
      {
        encoding: "utf8",
        maxBuffer: 2 ** 30,
      },
    );
    if (status === UNSUITABLE) return stderr.trim();
    if (status !== 0)
      throw new Error(`trace ${seed} ${first} ${count} ${steps} ended with ${status}: ${stderr}`, {
        cause: error,
      });
    return parseTraces(stdout);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
