/**
 * @module A huge page of which a device begins to track one page, while another thread makes all of
 * it writable again: the look at the huge page and the change of its entries are one section of
 * pageTableLock (U4 of mm/huge.ts).
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { hugeLeafAt, rewriteHuge } from "../../../../src/mm/huge.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PTE_TRACKED, PTE_WRITE, withWrite } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HugeWorld, START, huge, store } from "./huge-stage.ts";

const TRACKED = 5;

/** The set-up: the frames are the space's alone, and read-only still. */
function* endChild(world: HugeWorld, { machine }: HmmHarness): Task<void> {
  yield* mmput(machine, Mm.at(machine.memory, world.child));
  world.child = 0;
}

/** Tracks the page until it may be copied, as a device does. */
function* track(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const copyable = new Uint8Array(1);
  const page = START + TRACKED;
  yield* mm.mmapLock.downRead();
  let wasWritable = true;
  while (wasWritable) wasWritable = yield* trackRange(machine, mm, page, page + 1, copyable);
  yield* mm.mmapLock.upRead();
}

/** Makes the huge page writable that it has found before it takes the lock. */
function* reuseLate(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  yield* access(memory, "read", mm.at, 1, "a fault");
  const leaf = hugeLeafAt(memory, mm, START);
  const head = memory.words[leaf]!;
  yield* mm.pageTableLock.lock();
  if (leaf !== 0) rewriteHuge(memory.words, leaf, withWrite(head));
  yield* mm.pageTableLock.unlock();
  yield* mm.mmapLock.upRead();
}

/** The page has not become writable behind the device's back. */
function requireTracked(_world: HugeWorld, harness: HmmHarness): void {
  const pte = harness.entryOf(START + TRACKED);
  assert((pte & (PTE_TRACKED | PTE_WRITE)) === PTE_TRACKED, `the tracked entry is ${pte}`);
}

export const hugeTracks: readonly Covered[] = [
  huge({
    name: "store-vs-track",
    summary:
      "A huge page that a child has shared is stored to, while a device begins to track another page of it: that one is not writable in the end.",
    state: "forked",
    prepare: endChild,
    tasks: {
      storer: [["mm/fault/huge-fault.writeProtectedHuge"], store(3)],
      tracker: [["mm/fault/track.trackRange", "mm/huge.splitHuge"], track],
    },
    check: requireTracked,
    twins: [
      [
        "late",
        "The huge page is found before the lock is taken, and another thread splits it in between.",
        "assertion",
        { storer: reuseLate },
      ],
    ],
  }),
];
