/**
 * @module A thread that dies while it makes a page exclusive to a device, or while its touch takes
 * the page from one: the page is the device's or the CPU's, with its contents, and whoever finds
 * the thread dead brings the invalidation to its end (X9 of mm/migrate/exclusive.ts). In the twins
 * the entry goes over in two steps.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { beginInvalidation, endInvalidation } from "../../../../src/mm/entries/invalidation.ts";
import { makeDeviceExclusive } from "../../../../src/mm/migrate/exclusive.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  PAGE_BYTES,
  endExclusive,
  makeNonPresent,
  pteKind,
  ptePfn,
} from "../../../../src/mm/pte.ts";
import { atomicExchange, atomicStore } from "../../../../src/sync/atomics.ts";
import {
  AGENT_OPERATIONS,
  OPERATION_LIMIT,
  OPERATION_WORDS,
  agentRecord,
} from "../../../../src/sync/control-block.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { DONE, type Task, access, step } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";
import { ONE_STORE_OPS } from "./told-device.ts";

type Body = HarnessBody<undefined>;

/** One that remembers nothing of other executions. */
const cpuOf = (harness: HmmHarness): HarnessCpu => new HarnessCpu(harness);

/** The thread of the first task. */
const TAKER = 1;
const ADDRESS = HARNESS_PAGE * PAGE_BYTES;
const BEFORE = 7;
const OWNER = 3;

function* take({ machine, mm }: HmmHarness): Task<void> {
  const pages = { startPage: HARNESS_PAGE, endPage: HARNESS_PAGE + 1 };
  yield* mm.mmapLock.downRead();
  const errno = yield* makeDeviceExclusive(machine, mm, pages, { owner: OWNER, range: 0 });
  yield* mm.mmapLock.upRead();
  assert(errno === 0, `the page could not be had: ${errno}`);
}

/** The entry goes over by way of nothing. */
function* inTwo(harness: HmmHarness, other: (pfn: number, pte: number) => number): Task<void> {
  const { machine, mm } = harness;
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(memory, "update", index, 1, "pte");
  const pte = atomicExchange(memory.words, index, 0);
  yield* access(memory, "write", index, 1, "pte");
  if (pte !== 0) atomicStore(memory.words, index, other(ptePfn(pte), pte));
  yield* mm.mmapLock.upRead();
}

const makes: Body = (_world, harness) => take(harness);
const makesInTwo: Body = (_world, harness) =>
  inTwo(harness, (pfn) => makeNonPresent(KIND_DEVICE_EXCLUSIVE, pfn));
const touches: Body = (_world, harness) => cpuOf(harness).load(ADDRESS);
const touchesInTwo: Body = (_world, harness) =>
  inTwo(harness, (_pfn, pte) => (pteKind(pte) === KIND_DEVICE_EXCLUSIVE ? endExclusive(pte) : pte));
const adds: Body = (_world, harness) => cpuOf(harness).add(ADDRESS, 1);

function* requireSum(harness: HmmHarness): Task<void> {
  const sum = yield* cpuOf(harness).load(ADDRESS);
  assert(sum === BEFORE + 1, `the page has ${sum}`);
}

function check(_world: undefined, harness: HmmHarness): void {
  const { machine, mm } = harness;
  const { words } = machine.memory;
  assert(words[mm.mmapLock.at] === 0, "somebody still holds the mmap lock");
  assert(ptePfn(harness.entryOf(HARNESS_PAGE)) !== 0, "the page has lost its frame");
  harness.runAfterwards(requireSum(harness));
}

function dying(
  name: string,
  summary: string,
  isTaken: boolean,
  [runs, dies, twin]: readonly [runs: readonly string[], dies: Body, twin: Body],
): Covered {
  return coveringOnHarness<undefined>({
    layer: "mm",
    name: `death/${name}`,
    summary,
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
    killable: ["dies"],
    mustSurvive: true,
    mayRemain: "anything",
    setup(harness) {
      HarnessDevice.registered(harness, ONE_STORE_OPS);
      harness.run(cpuOf(harness).store(ADDRESS, BEFORE));
      if (isTaken) harness.run(take(harness));
    },
    tasks: { dies: [runs, dies], adds: [["mm/fault/cpu-fault.fault"], adds] },
    check,
    twins: [["in-two", "The entry goes over in two steps.", "assertion", { dies: twin }]],
  });
}

/**
 * Has a translation, waits until nobody holds the mmap lock, dead or alive, and adds once more: if
 * the page is a device's alone by then, the translation must be gone, and a fault takes it back.
 */
const addsAfter: Body = (_world, harness) => addsTwice(harness, DONE);

function* addsTwice(harness: HmmHarness, between: Task<void>): Task<void> {
  const { mmapLock } = harness.mm;
  const cpu = cpuOf(harness);
  yield* cpu.add(ADDRESS, 1);
  yield* between;
  yield* mmapLock.downWrite();
  const isTaken = isExclusive(harness);
  yield* mmapLock.upWrite();
  if (!isTaken) return;
  yield* cpu.add(ADDRESS, 1);
  assert(!isExclusive(harness), "the CPU has stored to a page that is a device's alone");
}

const isExclusive = (harness: HmmHarness): boolean =>
  pteKind(harness.entryOf(HARNESS_PAGE)) === KIND_DEVICE_EXCLUSIVE;

/** The page becomes exclusive in one step, and the CPU's translations stay. */
const makesUnflushed: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(machine.memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(machine.memory, "update", index, 1, "pte");
  const pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
  atomicStore(machine.memory.words, index, makeNonPresent(KIND_DEVICE_EXCLUSIVE, pfn));
  yield* mm.mmapLock.upRead();
};

const besideTranslation: Covered = coveringOnHarness<undefined>({
  layer: "mm",
  name: "death/takes-exclusively-vs-translation",
  summary:
    "A thread dies at any step of making a page exclusive to a device, and another has a translation of the page.",
  harness: { pages: 1 },
  exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
  killable: ["dies"],
  mustSurvive: true,
  mayRemain: "anything",
  setup: () => undefined,
  tasks: {
    dies: [["mm/migrate/exclusive.makeDeviceExclusive"], makes],
    adds: [["mm/fault/device-exclusive.deviceExclusiveFault"], addsAfter],
  },
  twins: [["unflushed", "The CPU's translations stay.", "assertion", { dies: makesUnflushed }]],
});

/** The word of the place for an operation, of those of the thread that takes the page. */
const placeOf = (index: number): number =>
  agentRecord(TAKER) + AGENT_OPERATIONS + index * OPERATION_WORDS;

/** The thread that takes has a task that uses each place, for no pages. */
function useAllPlaces({ machine, mm }: HmmHarness): void {
  for (let index = 0; index < OPERATION_LIMIT; index++) {
    const at = placeOf(index);
    machine.memory.words.fill(0, at, at + OPERATION_WORDS);
    machine.memory.words[at] = mm.mmapLock.at;
  }
}

/** One of the places is free again. */
function* freePlace({ machine: { memory } }: HmmHarness): Task<void> {
  yield* step(memory, "wakeAll", placeOf(0), 1, "an operation");
  memory.words[placeOf(0)] = 0;
}

/** As `addsAfter`; the other thread's task has come to its end when this one has a translation. */
const freesAndAdds: Body = (_world, harness) => addsTwice(harness, freePlace(harness));

/** It is noted what is done to the page when the page has gone. */
const makesUnnoted: Body = function* (world, harness) {
  yield* makesUnflushed(world, harness);
  const { mm } = harness;
  yield* mm.mmapLock.downRead();
  endInvalidation(mm, yield* beginInvalidation(mm, HARNESS_PAGE, HARNESS_PAGE + 1));
  yield* mm.mmapLock.upRead();
};

const withoutPlace: Covered = coveringOnHarness<undefined>({
  layer: "mm",
  name: "death/takes-exclusively-without-place",
  summary:
    "A thread that makes a page exclusive waits for a place to note that, and dies: the page is the CPU's.",
  harness: { pages: 1 },
  exploration: { engine: "bounded", preemptions: 1, deaths: 1, timeouts: 0 },
  killable: ["dies"],
  mustSurvive: true,
  mayRemain: "anything",
  setup(harness) {
    useAllPlaces(harness);
  },
  tasks: {
    dies: [["mm/migrate/exclusive.takeFromCpu", "sync/death/recovery.awaitOperation"], makes],
    adds: [["mm/fault/device-exclusive.deviceExclusiveFault"], freesAndAdds],
  },
  twins: [["unnoted", "It goes before that is noted.", "assertion", { dies: makesUnnoted }]],
});

export const deathsWithExclusivePages: readonly Covered[] = [
  besideTranslation,
  withoutPlace,
  dying(
    "takes-exclusively",
    "A thread dies at any step of making a page exclusive to a device, and another adds to the page.",
    false,
    [["mm/migrate/exclusive.makeDeviceExclusive"], makes, makesInTwo],
  ),
  dying(
    "ends-exclusive",
    "A thread dies at any step of a touch that takes a page from a device, and another adds to it.",
    true,
    [["mm/fault/device-exclusive.deviceExclusiveFault"], touches, touchesInTwo],
  ),
];
