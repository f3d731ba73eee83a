/**
 * @module A shortage of memory, as in the scenarios about ENOMEM: every allocation fails until the
 * shortage ends.
 */

import { harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

const LEAF_WORDS = 512;

/**
 * Allocates an object, a block, a frame and two contiguous frames: 0 for each that fails. Frees the
 * others.
 */
function* askForAll({ machine: { heap, ram } }: HmmHarness): Task<number[]> {
  const object = yield* heap.alloc(Mm);
  const block = yield* heap.allocWords(LEAF_WORDS);
  const frame = yield* ram.allocFrame(false);
  const row = yield* ram.allocRun(2, false);
  if (object !== 0) yield* heap.free(Mm, object);
  if (block !== 0) yield* heap.freeWords(block, LEAF_WORDS);
  if (frame !== 0) yield* ram.refs.pagePut(frame);
  if (row !== 0) for (const pfn of [row, row + 1]) yield* ram.refs.pagePut(pfn);
  return [object, block, frame, row];
}

function* fallShort(_shared: undefined, harness: HmmHarness): Task<void> {
  const before = yield* askForAll(harness);
  assert(!before.includes(0), `something is refused before the shortage: ${before.join(" ")}`);
  yield* harness.shortage.begin();
  const during = yield* askForAll(harness);
  assert(
    during.every((answer) => answer === 0),
    `something can be had in a shortage: ${during.join(" ")}`,
  );
  yield* harness.shortage.end();
  yield* harness.shortage.begin();
  const after = yield* askForAll(harness);
  assert(!after.includes(0), `something is refused after the shortage: ${after.join(" ")}`);
}

export const shortages: readonly Covered[] = [
  {
    layer: "memory",
    scenario: harnessScenario<undefined>({
      name: "coverage/memory/alone/shortage",
      summary: "While memory has run out every allocation fails; before and after, all succeed.",
      harness: { pages: 0, shortage: true },
      setup: () => undefined,
      tasks: { task: fallShort },
      balanced: true,
    }),
    twins: [],
    runs: {
      task: [
        "memory/heap/shortage.begin",
        "memory/heap/shortage.isOn",
        "memory/frames/frame-allocator.takeRun",
        "memory/heap/arenas.#take",
      ],
    },
  },
];
