/**
 * @module What a fault does when another thread is faster, or changes the mappings beside it; and
 * what one thread alone can see of a fault: the entry that it leaves.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import {
  PAGE_BYTES,
  PTE_TRACKED,
  PTE_WRITE,
  WRITTEN_RIGHTS,
  ZERO_PTE,
  makePte,
  ptePfn,
} from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { LEAF_WORDS, leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { SegmentationFault, assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, type HarnessTwin, coveringOnHarness } from "../on-harness.ts";

/** Of a block without a table. */
const FAR: number = HARNESS_PAGE + 2 * LEAF_WORDS;
/** Where nothing is mapped, and where another thread maps something. */
const NOWHERE: number = HARNESS_PAGE + 8;
const BESIDE: number = HARNESS_PAGE + 16;

interface World {
  /** References and frames, before anybody touches the page. */
  readonly references: number;
  readonly frames: number;
}

type Body = HarnessBody<World>;

function counts({ machine: { ram } }: HmmHarness): World {
  return { references: ram.refs.total().references, frames: ram.usage().usedPages };
}

const touches: Body = (_world, { machine, mm }) => cpuFault(machine, mm, FAR, true);

/** As a first fault, but the frame goes into the entry whatever is there by then. */
const touchesBlindly: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  const { memory, ram } = machine;
  yield* mm.mmapLock.downRead();
  const leaf = leafOf(memory, mm.pgd, FAR);
  yield* mm.mmapLock.upRead();
  if (leaf === 0) return;
  const pfn = yield* ram.allocFrame(true);
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leaf, FAR);
  yield* access(memory, "write", index, 1, "pte");
  const { words } = memory;
  atomicStore(words, index, makePte(pfn, WRITTEN_RIGHTS));
  yield* mm.mmapLock.upRead();
};

const BLIND: HarnessTwin<World> = [
  "blind",
  "One puts its frame into the entry, whatever is there by then.",
  "assertion",
  { one: touchesBlindly },
];

/** One page, one frame, one reference. */
function requireOne(before: World, harness: HmmHarness): void {
  const now = counts(harness);
  const [frames, references] = [now.frames - before.frames, now.references - before.references];
  assert(frames === 1 && references === 1, `${frames} frames for a page, ${references} references`);
}

function* loadsNothing(_world: World, harness: HmmHarness): Task<void> {
  try {
    yield* new HarnessCpu(harness).load(NOWHERE * PAGE_BYTES);
  } catch (error) {
    if (error instanceof SegmentationFault) return;
    throw error;
  }
  assert(false, "a load succeeds where nothing is mapped");
}

/** Asks what is mapped there without the mmap lock. */
function* asksUnlocked(_world: World, { machine, mm }: HmmHarness): Task<void> {
  yield* access(machine.memory, "read", mm.at, 1, "a fault");
  assert(vmaOf(machine.memory, mm, NOWHERE) === undefined, "something is mapped there");
}

const maps: Body = (_world, { machine, mm }) =>
  doMmap(machine, mm, {
    address: BESIDE * PAGE_BYTES,
    lengthBytes: PAGE_BYTES,
    placement: MAP_FIXED_NOREPLACE,
    protection: VM_READ | VM_WRITE,
    shared: false,
    bufferPfn: 0,
    offsetPages: 0,
  });

/** Takes the right to write, and tells of it; then the page may be copied. */
function tracks(rounds: number): Body {
  return function* (_world, harness) {
    const { machine, mm } = harness;
    const copyable = new Uint8Array(1);
    yield* mm.mmapLock.downRead();
    let wasWritable = true;
    for (let round = 0; round < rounds; round++)
      wasWritable = yield* trackRange(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, copyable);
    yield* mm.mmapLock.upRead();
    assert(!wasWritable && copyable[0] === 1, "a page that was tracked cannot be copied");
    const pte = harness.entryOf(HARNESS_PAGE);
    assert((pte & (PTE_TRACKED | PTE_WRITE)) === PTE_TRACKED, `the tracked entry is ${pte}`);
    yield* new HarnessCpu(harness).store(HARNESS_PAGE * PAGE_BYTES, 1);
    const stored = harness.entryOf(HARNESS_PAGE);
    assert((stored & PTE_WRITE) !== 0 && ptePfn(stored) === ptePfn(pte), "it was copied in vain");
  };
}

/** A read of a block that has no table yet. */
const reads: Body = function* (_world, harness) {
  yield* cpuFault(harness.machine, harness.mm, FAR, false);
  const pte = harness.entryOf(FAR);
  assert(pte === ZERO_PTE, `a page that was read first has the entry ${pte}`);
};

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/fault/anonymous.anonymousFault"];
const COPY = ["mm/fault/cpu-fault.cpuFault", "mm/fault/copy-on-write.replaceByCopy"];

export const firstFaults: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "mm",
    name: "first-fault-vs-first-fault",
    summary: "Two threads store first to a page whose table is not there yet: it gets one frame.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup(harness) {
      harness.map(FAR, 1);
      return counts(harness);
    },
    tasks: { one: [FAULT, touches], other: [FAULT, touches] },
    check: requireOne,
    twins: [BLIND],
  }),
  coveringOnHarness<World>({
    layer: "mm",
    name: "copy-vs-copy-of-zeros",
    summary: "Two threads store to a page that has been read only: it gets one frame.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup(harness) {
      harness.map(FAR, 1);
      harness.run(reads(counts(harness), harness));
      return counts(harness);
    },
    tasks: { one: [COPY, touches], other: [COPY, touches] },
    check: requireOne,
    twins: [BLIND],
  }),
  coveringOnHarness<World>({
    layer: "mm",
    name: "load-of-nothing-vs-mmap",
    summary: "A thread loads where nothing is mapped, while another one maps a page beside that.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup: counts,
    tasks: {
      load: [["mm/fault/cpu-fault.explainFault"], loadsNothing],
      mmap: [["mm/calls/mmap.doMmap"], maps],
    },
    twins: [
      [
        "unlocked",
        "What is mapped there is looked up without the mmap lock.",
        "data-race",
        { load: asksUnlocked },
      ],
    ],
  }),
  coveringOnHarness<World>({
    layer: "mm",
    name: "alone/track",
    summary:
      "A writable page is tracked: told of first, then read-only, then copied, then stored to.",
    harness: { pages: 1 },
    setup: counts,
    tasks: { thread: [["mm/fault/track.takeWrite", "mm/fault/track.trackRange"], tracks(2)] },
    twins: [
      [
        "once",
        "It is copied though it was writable a moment ago, and who stores to it was told of that only now.",
        "assertion",
        { thread: tracks(1) },
      ],
    ],
  }),
  coveringOnHarness<World>({
    layer: "mm",
    name: "alone/first-read",
    summary:
      "A page is read first whose table is not there yet: its entry is of the page of zeros.",
    harness: { pages: 1 },
    setup(harness) {
      harness.map(FAR, 1);
      return counts(harness);
    },
    tasks: { thread: [FAULT, reads] },
    twins: [],
  }),
];
