/**
 * @module Leaves of the page table that move or become free, while a CPU thread goes by the old
 * ones: a leaf is never at both places (`moveLeaves`), and each batch of leaves is flushed before
 * any of it is free (W3 of mmu/radix-table.ts).
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { beginInvalidation, endInvalidation } from "../../../../src/mm/entries/invalidation.ts";
import { openMove } from "../../../../src/mm/entries/move.ts";
import { finishMove } from "../../../../src/mm/entries/moved-entries.ts";
import { mmapWriteLock } from "../../../../src/mm/migration.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { relocateVma } from "../../../../src/mm/vma/vma-link.ts";
import { endVmaChange } from "../../../../src/mm/vma/vma-tree.ts";
import { vmaOf } from "../../../../src/mm/vma/vma.ts";
import { LEAF_WORDS, leafOf, midAlloc, midSlotOf } from "../../../../src/mmu/radix-table.ts";
import { freeEmptyLeaves } from "../../../../src/mmu/unlinked-leaves.ts";
import { atomicStore, exchangeNoted } from "../../../../src/sync/atomics.ts";
import { SegmentationFault, assert, bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, type HarnessTwin, coveringOnHarness } from "../on-harness.ts";
import { withoutFlush } from "./left-out.ts";

/** The first page of a leaf. */
const PAGE: number = LEAF_WORDS;
const ADDRESS: number = PAGE * PAGE_BYTES;
const LEAF_BYTES: number = LEAF_WORDS * PAGE_BYTES;
/** Where the leaf moves to. */
const MOVED_ADDRESS: number = ADDRESS + 2 * LEAF_BYTES;
const BEFORE = 7;
const FAULTED = -1;
/** A word that nobody may write. */
const GUARD = 77;

interface World {
  /** Words that note leaves: one, and one behind it that is not for that. */
  readonly notes: number;
}

type Body = HarnessBody<World>;

function* load(cpu: HarnessCpu, address: number): Task<number> {
  try {
    return yield* cpu.load(address);
  } catch (error) {
    if (error instanceof SegmentationFault) return FAULTED;
    throw error;
  }
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  /** Of these, more than one are empty at the beginning. */
  readonly leaves: number;
  readonly cpu: Body;
  readonly other: readonly [name: string, runs: readonly string[], body: Body];
  readonly check?: (world: World, harness: HmmHarness) => void;
  /** The other one may die. */
  readonly dies?: boolean;
  readonly twins: readonly HarnessTwin<World>[];
}

function besideLeaves({ dies = false, ...parts }: Parts): Covered {
  const { name, summary, leaves, cpu, other, check, twins } = parts;
  const [otherName, runs, body] = other;
  return coveringOnHarness<World>({
    layer: "mm",
    name,
    summary,
    harness: { pages: 0, arenaWords: 8192 },
    exploration: { engine: "bounded", preemptions: dies ? 1 : 2, deaths: dies ? 1 : 0 },
    ...(dies ? { killable: [otherName], mustSurvive: true } : {}),
    mayRemain: "anything",
    setup(harness) {
      harness.map(PAGE, leaves * LEAF_WORDS);
      for (let leaf = 0; leaf < leaves; leaf++)
        harness.run(new HarnessCpu(harness).store(ADDRESS + leaf * LEAF_BYTES, BEFORE));
      if (leaves > 1) harness.run(harness.discard(PAGE, leaves * LEAF_WORDS));
      const notes = harness.run(harness.machine.heap.allocWords(512));
      harness.machine.memory.words[notes + 1] = GUARD;
      return { notes };
    },
    tasks: {
      load: [["mmu/widths/u32-access.load", "mm/fault/cpu-fault.fault"], cpu],
      [otherName]: [runs, body],
    },
    ...(check === undefined ? {} : { check }),
    twins,
  });
}

/** Goes to the new place, and where it finds something, back to the old one. */
const looksAtBoth: Body = function* (_world, harness) {
  const cpu = new HarnessCpu(harness);
  yield* load(cpu, ADDRESS);
  const moved = yield* load(cpu, MOVED_ADDRESS);
  assert(moved === BEFORE || moved === FAULTED, `the new place reads ${moved}`);
  if (moved === FAULTED) return;
  const old = yield* load(cpu, ADDRESS);
  assert(old === FAULTED, `the page is at its new place, and the old one reads ${old}`);
};

const moves: Body = (_world, { machine, mm }) =>
  doMremap(machine, mm, {
    address: ADDRESS,
    oldLengthBytes: LEAF_BYTES,
    newLengthBytes: LEAF_BYTES,
    mayMove: true,
    to: MOVED_ADDRESS,
  });

/** The leaf is at its new place before the translations of the old one are flushed. */
const movesTooEarly: Body = function* (_world, { machine, mm }) {
  const { memory } = machine;
  yield* mm.mmapLock.downWrite();
  const leaf = leafOf(memory, mm.pgd, PAGE);
  const [from, to] = [ADDRESS, MOVED_ADDRESS].map((address) =>
    midSlotOf(memory, mm.pgd, address / PAGE_BYTES),
  ) as [number, number];
  yield* access(memory, "write", from, 1, "page table");
  atomicStore(memory.words, from, 0);
  yield* access(memory, "write", to, 1, "page table");
  atomicStore(memory.words, to, leaf);
  yield* mm.shootdown.flush(PAGE, PAGE + LEAF_WORDS);
  yield* mm.mmapLock.upWrite();
};

/** As one who has found the mover dead: the mapping has moved, and its leaf is at neither place. */
const endsMove: Body = function* (_world, { machine, mm }) {
  const { memory } = machine;
  const target = MOVED_ADDRESS / PAGE_BYTES;
  const entries = { startPage: PAGE, endPage: PAGE + LEAF_WORDS, target, takesLeaves: true };
  yield* mmapWriteLock(machine, mm);
  yield* midAlloc(machine, mm.pgd, target);
  const operation = yield* beginInvalidation(mm, PAGE, PAGE + LEAF_WORDS);
  const notes = yield* openMove(machine, operation, entries);
  const vma = vmaOf(memory, mm, PAGE) ?? bug("nothing is mapped");
  relocateVma(machine, mm, vma, { startPage: target, endPage: target + LEAF_WORDS });
  endVmaChange(memory, mm);
  const slot = midSlotOf(memory, mm.pgd, PAGE);
  yield* access(memory, "update", slot, 1, "page table");
  memory.words[notes.leaves.from] = PAGE;
  exchangeNoted(memory.words, slot, 0, memory.words, notes.leaves.start, 0, 0);
  yield* finishMove(machine, mm, entries, notes);
  endInvalidation(mm, operation);
  yield* mm.mmapLock.upWrite();
};

/** Two empty leaves, of which one can be noted at a time: two batches. */
const frees: Body = function* ({ notes }, harness) {
  const { machine, mm } = harness;
  const end = PAGE + 2 * LEAF_WORDS;
  yield* mm.mmapLock.downWrite();
  yield* freeEmptyLeaves(machine, mm, PAGE, end, { start: notes, end: notes + 1 });
  yield* mm.mmapLock.upWrite();
};

const loadsFirst: Body = function* (_world, harness) {
  const cpu = new HarnessCpu(harness);
  for (let times = 0; times < 2; times++) {
    const seen = yield* load(cpu, ADDRESS);
    assert(seen === 0, `the page that was discarded reads ${seen}`);
  }
};

const withoutBatch = (expects: FindingKind): HarnessTwin<World> => [
  "without-flush",
  "The first of two batches of leaves is freed without a flush.",
  expects,
  { free: (world, harness) => withoutFlush(1, frees(world, harness)) },
];

const TOO_EARLY: HarnessTwin<World> = [
  "too-early",
  "The leaf is at its new place before the translations of the old one are flushed.",
  "assertion",
  { mremap: movesTooEarly },
];

export const leaves: readonly Covered[] = [
  besideLeaves({
    name: "both-places-vs-move-of-leaf",
    summary:
      "A CPU thread looks for a page at its new place and then at the old one, while its leaf moves: it never finds it at both.",
    leaves: 1,
    cpu: looksAtBoth,
    other: ["mremap", ["mm/calls/mremap.doMremap", "mmu/unlinked-leaves.moveLeaves"], moves],
    twins: [TOO_EARLY],
  }),
  besideLeaves({
    name: "both-places-vs-death-in-move-of-leaf",
    summary:
      "The same, and the thread that moves the leaf dies: another one goes on with the move.",
    leaves: 1,
    cpu: looksAtBoth,
    other: ["mremap", ["mm/entries/moved-entries.finishMove"], moves],
    dies: true,
    twins: [TOO_EARLY],
  }),
  besideLeaves({
    name: "both-places-vs-end-of-move-of-leaf",
    summary: "The same, and the leaf is at neither place when somebody goes on with the move.",
    leaves: 1,
    cpu: looksAtBoth,
    other: ["mremap", ["mm/entries/moved-entries.finishMove"], endsMove],
    twins: [TOO_EARLY],
  }),
  besideLeaves({
    name: "load-vs-free-of-two-leaves",
    summary: "A CPU thread loads by a leaf that is freed with another one, in two batches.",
    leaves: 2,
    cpu: loadsFirst,
    other: ["free", ["mmu/unlinked-leaves.freeEmptyLeaves"], frees],
    check({ notes }, { machine }) {
      const { words } = machine.memory;
      assert(words[notes + 1] === GUARD, "a leaf was noted behind the words for that");
      assert(words[notes] === 0, "a leaf is noted for ever");
    },
    twins: [withoutBatch("error")],
  }),
];
