/**
 * @module Compares AddressSpace with the running kernel: traces of trace.c, replayed. Used by the
 * test and by `npm run linux`.
 */

import assert from "node:assert/strict";
import { AddressSpace } from "../../src/index.ts";
import { Mismatch, type Scene, versionOf } from "./play.ts";
import { Replay } from "./replay.ts";
import type { TraceProgram } from "./trace-program.ts";
import { type Alteration, altered } from "./traced-space.ts";
import { PAGE_BYTES } from "./window-map.ts";

/** Traces that one run of the program prints. */
const CHUNK = 50;

export interface Wanted {
  readonly seed: number;
  readonly first: number;
  readonly traces: number;
  readonly steps: number;
}

export interface Comparison {
  readonly kernel: string;
  readonly traces: number;
  readonly steps: number;
  /** Kinds of docs/LINUX.md that were met where we mean to differ, and how often. */
  readonly kinds: Scene["kinds"];
}

/** The line that runs one trace alone. */
export function replayLine(seed: number, number: number, steps: number): string {
  return `npm run linux -- --seed ${seed} --first ${number} --traces 1 --steps ${steps}`;
}

const unaltered: Alteration = () => ({});

/** Replays one trace on a machine of its own. Throws Mismatch; and at the end nothing is left. */
function replay(scene: Scene, alter: Alteration): void {
  const { of, count } = scene.trace.limit;
  const limits =
    of === "none" ? {} : of === "pages" ? { mappedBytes: count * PAGE_BYTES } : { mappings: count };
  using witness = AddressSpace.createSync({ ramBytes: 2 ** 22, heapBytes: 2 ** 22, limits });
  new Replay(scene, altered(witness.forkSync(), alter)).run();
  assert.equal(
    witness.statsSync().ram.usedBytes,
    0,
    `trace ${scene.trace.number}: frames are left`,
  );
}

/**
 * Compares the wanted traces. Throws Mismatch with the line that runs the trace alone. A string
 * says why the program cannot run here. `onProgress` hears how many traces have been compared.
 */
export async function compare(
  program: TraceProgram,
  { seed, first, traces, steps }: Wanted,
  onProgress: (done: number) => void = () => {},
  alter: Alteration = unaltered,
): Promise<Comparison | string> {
  const kinds: Scene["kinds"] = new Map();
  let count = 0;
  let kernel = "";
  for (let done = 0; done < traces; done += CHUNK) {
    const printed = program.run(seed, first + done, Math.min(CHUNK, traces - done), steps);
    if (typeof printed === "string") return printed;
    ({ kernel } = printed);
    const { windowPages } = printed;
    const ofKernel = { version: versionOf(kernel), windowPages };
    for (const trace of printed.traces) {
      count += trace.steps.length;
      try {
        replay({ trace, ...ofKernel, kinds }, alter);
      } catch (error) {
        if (!(error instanceof Mismatch)) throw error;
        const again = replayLine(seed, trace.number, steps);
        throw new Mismatch(
          `trace ${trace.number} of seed ${seed}, ${error.message}\nagain: ${again}`,
          {
            cause: error,
          },
        );
      }
    }
    onProgress(Math.min(done + CHUNK, traces));
    // A machine's memory is free only after a turn of the event loop.
    await new Promise(setImmediate);
  }
  return { kernel, traces, steps: count, kinds };
}
