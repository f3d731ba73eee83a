/**
 * @module A fault on a user's buffer, which maps what lies beside its page as well
 * (mm/fault/shared-fault.ts): beside another thread's fault on one of those pages, and with the
 * thread's death at any step. Each entry has its count, and no more. In the twins a page beside is
 * mapped without a count, or its count is noted nowhere for a step.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import {
  PAGE_BYTES,
  WRITTEN_RIGHTS,
  holdsFrame,
  isAccessible,
  makePte,
} from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { LEAF_WORDS, leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicCompareExchange } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";

/** Where a buffer of three pages is mapped, all of which one fault may map. */
const BUFFER: number = HARNESS_PAGE + LEAF_WORDS;
const PAGES = 3;

interface World {
  readonly bufferPfn: number;
  /** References before anybody touches the buffer. */
  readonly references: number;
}

type Body = HarnessBody<World>;

function mapBuffer(harness: HmmHarness): World {
  const { machine, mm } = harness;
  const lengthBytes = PAGES * PAGE_BYTES;
  const bufferPfn = harness.run(machine.ram.sections.add(new SharedArrayBuffer(lengthBytes)));
  const place = { address: BUFFER * PAGE_BYTES, placement: MAP_FIXED_NOREPLACE };
  const request = { ...place, lengthBytes, protection: VM_READ | VM_WRITE, shared: true };
  const mapped = harness.run(doMmap(machine, mm, { ...request, bufferPfn, offsetPages: 0 }));
  assert(mapped > 0, `mmap answered ${mapped}`);
  return { bufferPfn, references: machine.ram.refs.total().references };
}

const touches = (page: number, isWrite: boolean): Body =>
  function* (_world, { machine, mm }) {
    const answer = yield* cpuFault(machine, mm, BUFFER + page, isWrite);
    assert(answer === 0, `the fault answered ${answer}`);
  };

/** As a fault that maps the page beside, of which nobody counts the frame. */
const mapsUncounted: Body = function* (world, harness) {
  const { memory } = harness.machine;
  yield* touches(0, true)(world, harness);
  const at = pteIndex(leafOf(memory, harness.mm.pgd, BUFFER), BUFFER + 1);
  yield* access(memory, "write", at, 1, "pte");
  const entry = makePte(world.bufferPfn + 1, WRITTEN_RIGHTS);
  atomicCompareExchange(memory.words, at, 0, entry);
  yield* harness.machine.ram.refs.pagePut(world.bufferPfn);
};

/** A count that a thread has in hand, and no note of it. */
const countsUnnoted: Body = function* (world, harness) {
  const { refs } = harness.machine.ram;
  yield* refs.pageGet(world.bufferPfn);
  yield* access(harness.machine.memory, "read", harness.mm.at, 1, "between");
  yield* refs.pagePut(world.bufferPfn);
};

function mappedPages(harness: HmmHarness): number {
  let mapped = 0;
  for (let page = BUFFER; page < BUFFER + PAGES; page++)
    if (holdsFrame(harness.entryOf(page))) mapped++;
  return mapped;
}

function requireCounts({ references }: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  assert(machine.memory.words[mm.mmapLock.at] === 0, "somebody still holds the mmap lock");
  const mapped = mappedPages(harness);
  const now = machine.ram.refs.total().references - references;
  assert(now === mapped, `${now} references of ${mapped} entries`);
}

/** All that lies beside is mapped, and may be stored to if somebody has stored. */
const requireAround =
  (isWritten: boolean) =>
  (world: World, harness: HmmHarness): void => {
    requireCounts(world, harness);
    for (let page = BUFFER; page < BUFFER + PAGES; page++)
      assert(isAccessible(harness.entryOf(page), isWritten), `page ${page} is not mapped so`);
  };

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/fault/shared-fault.mapAround"];
const STORE = ["mm/fault/cpu-fault.cpuFault", "mm/fault/shared-fault.allowStoresAround"];

export const bufferAround: readonly Covered[] = [
  coveringOnHarness<World>({
    layer: "mm",
    name: "touch-vs-touch-of-buffer",
    summary: "Two threads touch pages of a buffer that lie side by side: each maps the other's.",
    harness: { pages: 1, arenaWords: 8192 },
    exploration: { engine: "bounded", preemptions: 2 },
    mayRemain: "anything",
    setup: mapBuffer,
    tasks: { one: [FAULT, touches(0, true)], other: [FAULT, touches(2, true)] },
    check: requireAround(true),
    twins: [
      [
        "uncounted",
        "One maps the page beside and does not count its frame.",
        "assertion",
        { one: mapsUncounted },
      ],
    ],
  }),
  coveringOnHarness<World>({
    layer: "mm",
    name: "store-vs-store-of-loaded-buffer",
    summary: "Two threads store to pages of a buffer that were loaded: each lets the other's be.",
    harness: { pages: 1, arenaWords: 8192 },
    exploration: { engine: "bounded", preemptions: 2 },
    mayRemain: "anything",
    setup(harness) {
      const world = mapBuffer(harness);
      harness.run(touches(1, false)(world, harness));
      requireAround(false)(world, harness);
      return world;
    },
    tasks: { one: [STORE, touches(0, true)], other: [STORE, touches(2, true)] },
    check: requireAround(true),
    twins: [],
  }),
  coveringOnHarness<World>({
    layer: "mm",
    name: "death/touch-of-buffer",
    summary: "A thread dies at any step of a touch of a buffer, and another touches a page beside.",
    harness: { pages: 1, arenaWords: 8192 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup: mapBuffer,
    tasks: {
      dies: [FAULT, touches(0, true)],
      touches: [["mm/fault/cpu-fault.cpuFault"], touches(1, true)],
    },
    check: requireCounts,
    twins: [
      [
        "unnoted",
        "It has a count of the frame that it notes nowhere.",
        "assertion",
        { dies: countsUnnoted },
      ],
    ],
  }),
];
