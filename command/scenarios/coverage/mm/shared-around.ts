/**
 * @module A fault on shared memory, which maps what lies beside its page as well
 * (mm/fault/shared-fault.ts): of a user's buffer, and of shared anonymous memory whose pages are
 * there already. Beside another thread's fault on one of those pages, and with the thread's death
 * at any step. Each entry has its count, and no more. In the twins a page beside is mapped without
 * a count, or its count is noted nowhere for a step.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import {
  PAGE_BYTES,
  WRITTEN_RIGHTS,
  holdsFrame,
  isAccessible,
  makePte,
  ptePfn,
} from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { LEAF_WORDS, leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicCompareExchange } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, ONE_DIES, coveringOnHarness } from "../on-harness.ts";

/** Where the memory is mapped, all of which one fault may map. */
const SHARED: number = HARNESS_PAGE + LEAF_WORDS;
const PAGES = 3;
const LENGTH_BYTES: number = PAGES * PAGE_BYTES;

interface World {
  /** The frames of the pages, in order. */
  readonly pfns: readonly number[];
  /** References before anybody touches the memory. */
  readonly references: number;
}

type Body = HarnessBody<World>;

const PLACE = {
  address: SHARED * PAGE_BYTES,
  placement: MAP_FIXED_NOREPLACE,
  lengthBytes: LENGTH_BYTES,
  protection: VM_READ | VM_WRITE,
  shared: true,
} as const;

function mapBuffer(harness: HmmHarness): World {
  const { machine, mm } = harness;
  const bufferPfn = harness.run(machine.ram.sections.add(new SharedArrayBuffer(LENGTH_BYTES)));
  const mapped = harness.run(doMmap(machine, mm, { ...PLACE, bufferPfn, offsetPages: 0 }));
  assert(mapped > 0, `mmap answered ${mapped}`);
  const pfns = Array.from({ length: PAGES }, (_, page) => bufferPfn + page);
  return { pfns, references: machine.ram.refs.total().references };
}

/** Anonymous memory whose cache has all pages; no entry has one. */
function mapCache(harness: HmmHarness): World {
  const { machine, mm } = harness;
  const mapped = harness.run(doMmap(machine, mm, { ...PLACE, bufferPfn: 0, offsetPages: 0 }));
  assert(mapped > 0, `mmap answered ${mapped}`);
  const pfns: number[] = [];
  for (let page = SHARED; page < SHARED + PAGES; page++) {
    harness.run(cpuFault(machine, mm, page, true));
    pfns.push(ptePfn(harness.entryOf(page)));
  }
  const { address } = PLACE;
  const answer = harness.run(doMadvise(machine, mm, address, LENGTH_BYTES, MADV_DONTNEED));
  assert(answer === 0, `madvise answered ${answer}`);
  return { pfns, references: machine.ram.refs.total().references };
}

const touches = (page: number, isWrite: boolean): Body =>
  function* (_world, { machine, mm }) {
    const answer = yield* cpuFault(machine, mm, SHARED + page, isWrite);
    assert(answer === 0, `the fault answered ${answer}`);
  };

/** As a fault that maps the page beside, of which nobody counts the frame. */
const mapsUncounted: Body = function* (world, harness) {
  const { memory } = harness.machine;
  yield* touches(0, true)(world, harness);
  const at = pteIndex(leafOf(memory, harness.mm.pgd, SHARED), SHARED + 1);
  yield* access(memory, "write", at, 1, "pte");
  const entry = makePte(world.pfns[1]!, WRITTEN_RIGHTS); // there are three
  atomicCompareExchange(memory.words, at, 0, entry);
  yield* harness.machine.ram.refs.pagePut(world.pfns[0]!);
};

/** A count that a thread has in hand, and no note of it. */
const countsUnnoted: Body = function* (world, harness) {
  const { refs } = harness.machine.ram;
  yield* refs.pageGet(world.pfns[0]!);
  yield* access(harness.machine.memory, "read", harness.mm.at, 1, "between");
  yield* refs.pagePut(world.pfns[0]!);
};

function mappedPages(harness: HmmHarness): number {
  let mapped = 0;
  for (let page = SHARED; page < SHARED + PAGES; page++)
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
    for (let page = SHARED; page < SHARED + PAGES; page++)
      assert(isAccessible(harness.entryOf(page), isWritten), `page ${page} is not mapped so`);
  };

/** The two kinds of shared memory, and what maps the pages beside. */
const KINDS = [
  { what: "buffer", text: "a buffer", setup: mapBuffer, maps: "shared-fault.mapAround" },
  { what: "shared", text: "shared memory", setup: mapCache, maps: "fault-around.mapCached" },
] as const;

const HARNESS = { pages: 1, arenaWords: 8192 };
const STORE = ["mm/fault/cpu-fault.cpuFault", "mm/fault/shared-fault.allowStoresAround"];

export const sharedAround: readonly Covered[] = KINDS.flatMap(({ what, text, setup, maps }) => {
  const fault = ["mm/fault/cpu-fault.cpuFault", `mm/fault/${maps}`];
  return [
    coveringOnHarness<World>({
      layer: "mm",
      name: `touch-vs-touch-of-${what}`,
      summary: `Two threads touch pages of ${text} that lie side by side: each maps the other's.`,
      harness: HARNESS,
      exploration: { engine: "bounded", preemptions: what === "buffer" ? 2 : 1 },
      mayRemain: "anything",
      setup,
      tasks: { one: [fault, touches(0, true)], other: [fault, touches(2, true)] },
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
      name: `store-vs-store-of-loaded-${what}`,
      summary: `Two threads store to pages of ${text} that were loaded: each lets the other's be.`,
      harness: HARNESS,
      exploration: { engine: "bounded", preemptions: 2 },
      mayRemain: "anything",
      setup(harness) {
        const world = setup(harness);
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
      name: `death/touch-of-${what}`,
      summary: `A thread dies at any step of a touch of ${text}, and another touches a page beside.`,
      harness: HARNESS,
      ...ONE_DIES,
      mayRemain: "anything",
      setup,
      tasks: {
        dies: [fault, touches(0, true)],
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
});
