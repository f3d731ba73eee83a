/**
 * @module C2 of mm/fault/copy-on-write.ts of a tracked page: the frame was exclusive, then the
 * notifiers are called, and meanwhile somebody gets a reference of it for a short time. A second
 * fault finds the frame held by that, and is to copy it. The first may write in place only if it
 * finds the frame exclusive once more, in one section with the exchange of the entry.
 *
 *     reuses                                    copies
 *     frame exclusive
 *     notifiers: a reference
 *                                               frame held
 *     drops the reference
 *                                               a reference of its own, copies the frame
 *     frame held after all: no store in
 *     place. Otherwise it stores, and the
 *     page is tracked again
 *                                               entry as it was: now the copy, and the
 *                                               store is lost
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  struct,
  u32,
} from "../../../../src/memory/layout/struct.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { mmgrab } from "../../../../src/mm/lifetime/mm.ts";
import { PAGE_BYTES, ptePfn, withWrite } from "../../../../src/mm/pte.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import {
  EVENT_CLEAR,
  EVENT_PROTECTION_PAGE,
  type InvalidateRange,
  invalidateRange,
} from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierRegister,
  registerNotifierOps,
} from "../../../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../../../src/notifier/subscriptions.ts";
import { atomicCompareExchange } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

const STORED = 8;
/** Tasks in the order of the scenario, as threads. */
const REUSES = 1;
const COPIES = 2;

interface Told extends StructView {
  readonly node: MmuNotifier;
  pfn: number;
  readonly phases: WordArray;
}

const Told: Struct<Told> = struct<Told>("coveredTold", {
  node: embed(MmuNotifier, "first field"),
  pfn: u32("const", "the page's frame at the beginning"),
  phases: array(3, "itself", "held, begun and stored, 0 or 1"),
});

type Body = HarnessBody<Told>;

/** 1: the frame has a reference beside the entry's. */
const heldOf = ({ memory, phases }: Told): Cell => new Cell(memory, phases.at, "held");
/** 1: the fault that is to copy has begun. */
const begunOf = ({ memory, phases }: Told): Cell => new Cell(memory, phases.at + 1, "begun");
/** 1: the store has been made, and the page is tracked again. */
const storedOf = ({ memory, phases }: Told): Cell => new Cell(memory, phases.at + 2, "stored");

/** Whoever reuses the frame holds it until the other fault goes on, which waits for the store. */
function* hear(machine: Machine, told: Told, { event }: InvalidateRange): Task<void> {
  const { agentId } = machine.memory;
  if (agentId === REUSES && event === EVENT_PROTECTION_PAGE && heldOf(told).peek() === 0) {
    yield* machine.ram.refs.pageGet(told.pfn);
    yield* heldOf(told).store(1);
    yield* begunOf(told).waitWhile(0);
    yield* machine.ram.refs.pagePut(told.pfn);
  }
  if (agentId === COPIES && event === EVENT_CLEAR) yield* storedOf(told).waitWhile(0);
}

const TOLD_OPS: number = registerNotifierOps("covered told", {
  *invalidateRangeStart(machine, at, range): Task<number> {
    yield* hear(machine, Told.at(machine.memory, at), range);
    return 0;
  },
  *invalidateRangeEnd(): Task<void> {},
  *release(): Task<void> {},
});

/** In the set-up. */
function* listen({ machine, mm }: HmmHarness, { node }: Told): Task<void> {
  yield* mmgrab(mm);
  yield* mm.mmapLock.downWrite();
  yield* mmuNotifierRegister(machine, mm.notifiers, node, TOLD_OPS);
  yield* mm.mmapLock.upWrite();
}

function* track({ machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* trackRange(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, new Uint8Array(1));
  yield* mm.mmapLock.upRead();
}

function* storeAndTrack(told: Told, harness: HmmHarness): Task<void> {
  yield* new HarnessCpu(harness).store(HARNESS_PAGE * PAGE_BYTES, STORED);
  yield* track(harness);
  yield* storedOf(told).store(1);
}

const copies: Body = function* (told, { machine, mm }) {
  yield* heldOf(told).waitWhile(0);
  yield* begunOf(told).store(1);
  yield* cpuFault(machine, mm, HARNESS_PAGE, true);
};

/** Does not ask again after the notifiers. */
const reusesUnasked: Body = function* (told, harness) {
  const { machine, mm } = harness;
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  const pte = harness.entryOf(HARNESS_PAGE);
  const range = invalidateRange(mm, HARNESS_PAGE, HARNESS_PAGE + 1, EVENT_PROTECTION_PAGE);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* access(memory, "update", index, 1, "pte");
  atomicCompareExchange(memory.words, index, pte, withWrite(pte));
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
  yield* storeAndTrack(told, harness);
};

/** Somebody else has a reference of the frame until the store has been made. */
const holds: Body = function* (told, { machine }) {
  const { refs } = machine.ram;
  const isHeld = yield* refs.pageGetNotZero(told.pfn);
  yield* storedOf(told).waitWhile(0);
  if (isHeld) yield* refs.pagePut(told.pfn);
};

function requireStored(_told: Told, harness: HmmHarness): void {
  const { sections } = harness.machine.ram;
  const now = ptePfn(harness.entryOf(HARNESS_PAGE));
  const word = sections.of(now).i32[sections.wordIndex(now)];
  assert(word === STORED, `the store is lost: the page says ${word}`);
}

export const toldReuse: readonly Covered[] = [
  coveringOnHarness<Told>({
    layer: "mm",
    name: "copy-vs-told-reuse",
    summary:
      "The notifiers are called before a tracked page is written in place. Meanwhile its frame is held, and another thread copies it.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup(harness) {
      const told = harness.alloc(Told);
      told.pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
      harness.run(track(harness));
      harness.run(listen(harness, told));
      return told;
    },
    tasks: {
      reuses: [["mm/fault/copy-on-write.reuseIfExclusive"], storeAndTrack],
      copies: [["mm/fault/copy-on-write.judgeUsers"], copies],
    },
    check: requireStored,
    twins: [
      ["unasked", "Nobody asks again after the notifiers.", "assertion", { reuses: reusesUnasked }],
    ],
  }),
  coveringOnHarness<Told>({
    layer: "mm",
    name: "copy-vs-held-reuse",
    summary:
      "A tracked page is written in place while somebody gets a reference of its frame, for which another thread copies it.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 1 },
    setup(harness) {
      const told = harness.alloc(Told);
      told.pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
      heldOf(told).init(1); // nobody holds it in a call-back
      harness.run(track(harness));
      harness.run(listen(harness, told));
      return told;
    },
    tasks: {
      reuses: [["mm/fault/copy-on-write.reuseIfExclusive"], storeAndTrack],
      copies: [
        ["mm/fault/copy-on-write.judgeUsers"],
        (_told, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true),
      ],
      holds: [[], holds],
    },
    check: requireStored,
    twins: [
      ["unasked", "Nobody asks again after the notifiers.", "assertion", { reuses: reusesUnasked }],
    ],
  }),
];
