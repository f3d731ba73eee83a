/**
 * @module A copy-on-write fault on a page that a child shares, while the page is given up: the
 * fault has got a reference of a frame that is not the entry's any more (C3 of
 * mm/fault/copy-on-write.ts). It gives that back once. In the twin it does so twice.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

interface World {
  readonly child: Mm;
}

type Body = HarnessBody<World>;

const copy: Body = (_world, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true);

const putTwice: Body = function* (world, harness) {
  const { refs } = harness.machine.ram;
  const pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
  const isHeld = yield* refs.pageGetNotZero(pfn);
  yield* copy(world, harness);
  if (!isHeld) return;
  yield* refs.pagePut(pfn);
  yield* refs.pagePut(pfn);
};

/** Each frame is counted once, for the entry of one space. */
function check({ child }: World, harness: HmmHarness): void {
  const { ram } = harness.machine;
  const [own, childs] = [harness.entryOf(HARNESS_PAGE), harness.entryOf(HARNESS_PAGE, child)];
  const named = [own, childs].filter((pte) => holdsFrame(pte));
  const { references } = ram.refs.total();
  assert(references === named.length, `${references} references of ${named.length} frames`);
  assert(ram.usage().usedPages === named.length, "a frame is free that is named, or lost");
}

export const copiesOvertaken: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "mm",
    name: "copy-vs-discard-of-shared",
    summary: "A page that a child shares is copied for a write, and given up meanwhile.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 1 },
    setup(harness) {
      const { machine, mm } = harness;
      return { child: Mm.at(machine.memory, harness.run(doFork(machine, mm))) };
    },
    tasks: {
      copies: [["mm/fault/copy-on-write.judgeUsers", "mm/fault/vm-fault.getIfNamed"], copy],
      discards: [
        ["mm/calls/madvise.doMadvise"],
        (_world, harness) => harness.discard(HARNESS_PAGE, 1),
      ],
    },
    check,
    twins: [["put-twice", "A reference is given back twice.", "assertion", { copies: putTwice }]],
  }),
];
