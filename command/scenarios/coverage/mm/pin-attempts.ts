/**
 * @module Pins of pages of all kinds, in which memory may run out, and which a device and a CPU
 * thread witness: the frames stay where they are, and nothing of a pin is left when it has ended.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { ViewHold, framesOf } from "../../../../src/mm/view/view-hold.ts";
import { type PinOptions, pinUserPages, unpinUserPages } from "../../../../src/mm/view/pin.ts";
import { PTE_TRACKED, PTE_WRITE, ptePfn } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Attempt, attempted } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { PRIVATE, SHARED, type Stage, makeStage, onStage, stageWith } from "./mixed-stage.ts";
import { track } from "./view-attempts.ts";
import { witnessed } from "./witnesses.ts";

interface Pinning extends PinOptions {
  readonly page: number;
  readonly pages: number;
  readonly setup?: Attempt<Stage>["setup"];
}

/** The answer is the pin. */
function pins(name: string, summary: string, pinning: Pinning): Attempt<Stage> {
  const { page, pages, setup = makeStage, ...options } = pinning;
  const [first, end] = [HARNESS_PAGE + page, HARNESS_PAGE + page + pages];
  return onStage({
    name: `pin-${name}`,
    summary,
    setup,
    runs: ["mm/view/pin.pinUserPages", "mm/view/pin-each.pinEach"],
    *act(harness) {
      const { machine, mm } = harness;
      const before = Array.from({ length: pages }, (_, i) => ptePfn(harness.entryOf(first + i)));
      const pinned = yield* pinUserPages(machine, mm, first, end, options);
      if (typeof pinned === "number") return pinned;
      for (const [i, pfn] of pinned.pfns.entries()) {
        const pte = harness.entryOf(first + i);
        assert(ptePfn(pte) === pfn, `page ${page + i} is not in its frame`);
        assert(before[i] === 0 || before[i] === pfn, `page ${page + i} has moved`);
        const isRight = options.write !== true || (pte & (PTE_WRITE | PTE_TRACKED)) === PTE_WRITE;
        assert(isRight, `page ${page + i} may not be written`);
      }
      return pinned.at;
    },
    undo: ({ machine }, _stage, at) =>
      unpinUserPages(machine, { at, pfns: framesOf(ViewHold.at(machine.memory, at)) }),
    telling: { withoutEntries: true },
  });
}

const forWriting: readonly Attempt<Stage>[] = [
  pins("private", "Private pages are pinned for writing, of which one is not there yet.", {
    page: PRIVATE,
    pages: 4,
    write: true,
  }),
  pins("shared", "Shared pages are pinned for writing, of which one is not there yet.", {
    page: SHARED,
    pages: 2,
    write: true,
  }),
  pins("tracked", "A page that a device has copied is pinned for writing.", {
    page: PRIVATE,
    pages: 1,
    write: true,
    setup: stageWith((harness) => harness.run(track(harness))),
  }),
];

const forLong: Attempt<Stage> = pins(
  "both",
  "Private and shared pages are pinned for long, for reading.",
  { page: PRIVATE + 2, pages: 4, longTerm: true },
);

export const pinAttempts: readonly Covered[] = [
  ...forWriting.map((attempt) => attempted(attempt)),
  ...[...forWriting, forLong].map((attempt) => witnessed(attempt)),
];
