/**
 * @module A shortage of memory, as the scenarios about ENOMEM begin it: all that is asked for is
 * refused, until it is over.
 */

import { rigScenario } from "../../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../../src/checker/rig/hmm-rig.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";

const LEAF_WORDS = 512;

/**
 * An object, a block, a frame, two frames in a row: 0 for what is refused. What is not is given
 * back.
 */
function* askForAll({ machine: { heap, ram } }: HmmRig): Task<number[]> {
  const object = yield* heap.alloc(Mm);
  const block = yield* heap.allocWords(LEAF_WORDS);
  const frame = yield* ram.allocFrame(false);
  const row = yield* ram.allocRun(2, false);
  if (object !== 0) yield* heap.free(Mm, object);
  if (block !== 0) yield* heap.freeWords(block, LEAF_WORDS);
  if (frame !== 0) yield* ram.pagePut(frame);
  if (row !== 0) for (const pfn of [row, row + 1]) yield* ram.pagePut(pfn);
  return [object, block, frame, row];
}

function* fallShort(_shared: undefined, rig: HmmRig): Task<void> {
  const before = yield* askForAll(rig);
  assert(!before.includes(0), `something is refused before the shortage: ${before.join(" ")}`);
  yield* rig.shortage.begin();
  const during = yield* askForAll(rig);
  assert(
    during.every((answer) => answer === 0),
    `something can be had in a shortage: ${during.join(" ")}`,
  );
  yield* rig.shortage.end();
  yield* rig.shortage.begin();
  const after = yield* askForAll(rig);
  assert(!after.includes(0), `something is refused after the shortage: ${after.join(" ")}`);
}

export const shortages: readonly Covered[] = [
  {
    layer: "memory",
    scenario: rigScenario<undefined>({
      name: "coverage/memory/alone/shortage",
      summary: "While memory has run out nothing of it can be had; before and after all of it can.",
      rig: { pages: 0, shortage: true },
      setup: () => undefined,
      tasks: { task: fallShort },
      balanced: true,
    }),
    twins: [],
    runs: {
      task: [
        "memory/shortage.begin",
        "memory/shortage.isOn",
        "memory/frame-allocator.takeRun",
        "memory/arenas.#take",
      ],
    },
  },
];
