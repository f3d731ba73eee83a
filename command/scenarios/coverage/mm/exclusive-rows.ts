/**
 * @module Pages become exclusive to a device together, in one invalidation
 * (mm/migrate/exclusive.ts), and come back together (mm/fault/device-exclusive.ts), beside a CPU
 * thread that adds to one of them; and with the death of the thread that takes them. Nothing that
 * was stored is lost, and a page is the device's or the CPU's. In the twins the entry of a page
 * goes over in two steps.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { makeDeviceExclusive } from "../../../../src/mm/migrate/exclusive.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  PAGE_BYTES,
  endExclusive,
  holdsFrame,
  makeNonPresent,
  pteKind,
  ptePfn,
} from "../../../../src/mm/pte.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicExchange, atomicStore } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import { ONE_STORE_OPS } from "../deaths/told-device.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";

type Body = HarnessBody<undefined>;

/** The device takes the last two. */
const PAGES = 3;
const SECOND: number = HARNESS_PAGE + 2;
const BEFORE = 7;
const OWNER = 3;

const addressOf = (page: number): number => page * PAGE_BYTES;

function setup(harness: HmmHarness): undefined {
  HarnessDevice.registered(harness, ONE_STORE_OPS);
  for (let page = HARNESS_PAGE; page < HARNESS_PAGE + PAGES; page++)
    harness.run(new HarnessCpu(harness).store(addressOf(page), BEFORE));
  return undefined;
}

const takes: Body = function* (_world, { machine, mm }) {
  const pages = { startPage: HARNESS_PAGE + 1, endPage: HARNESS_PAGE + PAGES };
  yield* mm.mmapLock.downRead();
  const errno = yield* makeDeviceExclusive(machine, mm, pages, { owner: OWNER, range: 0 });
  yield* mm.mmapLock.upRead();
  assert(errno === 0, `the pages could not be had: ${errno}`);
};

/** The device has them at the beginning. */
function setupTaken(harness: HmmHarness): undefined {
  setup(harness);
  harness.run(takes(undefined, harness));
  return undefined;
}

const loadsFirst: Body = (_world, harness) =>
  new HarnessCpu(harness).load(addressOf(HARNESS_PAGE + 1));

const goesInTwo = (other: (pte: number) => number): Body =>
  function* (_world, { machine, mm }) {
    const { memory } = machine;
    yield* mm.mmapLock.downRead();
    const index = pteIndex(leafOf(memory, mm.pgd, SECOND), SECOND);
    yield* access(memory, "update", index, 1, "pte");
    const pte = atomicExchange(memory.words, index, 0);
    yield* access(memory, "write", index, 1, "pte");
    atomicStore(memory.words, index, other(pte));
    yield* mm.mmapLock.upRead();
  };

const takesInTwo: Body = goesInTwo((pte) => makeNonPresent(KIND_DEVICE_EXCLUSIVE, ptePfn(pte)));
const comesInTwo: Body = goesInTwo((pte) =>
  pteKind(pte) === KIND_DEVICE_EXCLUSIVE ? endExclusive(pte) : pte,
);

const adds: Body = (_world, harness) => new HarnessCpu(harness).add(addressOf(SECOND), 1);

const discards: Body = (_world, { machine, mm }) =>
  doMadvise(machine, mm, addressOf(SECOND), PAGE_BYTES, MADV_DONTNEED);

function* requireGone(harness: HmmHarness): Task<void> {
  const value = yield* new HarnessCpu(harness).load(addressOf(SECOND));
  assert(value === 0, `the page that was given up has ${value}`);
}

/** Broken: the second page is the CPU's again, whatever became of its entry. */
const comesUnseen: Body = function* (_world, { machine, mm }) {
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(memory, mm.pgd, SECOND), SECOND);
  yield* access(memory, "read", index, 1, "pte");
  const pte = memory.words[index]!;
  yield* access(memory, "write", index, 1, "pte");
  atomicStore(memory.words, index, endExclusive(pte));
  yield* mm.mmapLock.upRead();
};

function* requireValues(harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  const [first, second] = [
    yield* cpu.load(addressOf(HARNESS_PAGE + 1)),
    yield* cpu.load(addressOf(SECOND)),
  ];
  assert(first === BEFORE && second === BEFORE + 1, `the pages have ${first} and ${second}`);
}

function check(_world: undefined, harness: HmmHarness): void {
  const { machine, mm } = harness;
  assert(machine.memory.words[mm.mmapLock.at] === 0, "somebody still holds the mmap lock");
  for (const page of [HARNESS_PAGE + 1, SECOND])
    assert(holdsFrame(harness.entryOf(page)), `page ${page} has lost its frame`);
  harness.runAfterwards(requireValues(harness));
}

const TAKE = ["mm/migrate/exclusive.makeDeviceExclusive", "mm/migrate/exclusive.takeFromCpu"];
const BACK = ["mm/fault/device-exclusive.endRow"];
const FAULT = ["mm/fault/cpu-fault.fault"];
const IN_TWO = "The entry of the second page goes over in two steps.";

const common = { layer: "mm", harness: { pages: PAGES }, setup, check } as const;

export const exclusiveRows: readonly Covered[] = [
  coveringOnHarness<undefined>({
    ...common,
    name: "exclusive-row-vs-add",
    summary: "Two pages become exclusive together, and a CPU thread adds to the second.",
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { takes: [TAKE, takes], adds: [FAULT, adds] },
    twins: [["in-two", IN_TWO, "assertion", { takes: takesInTwo }]],
  }),
  coveringOnHarness<undefined>({
    ...common,
    name: "exclusive-row-comes-back-vs-add",
    summary: "A touch takes two pages from a device, and another thread adds to the second.",
    setup: setupTaken,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { loads: [BACK, loadsFirst], adds: [FAULT, adds] },
    twins: [["in-two", IN_TWO, "assertion", { loads: comesInTwo }]],
  }),
  coveringOnHarness<undefined>({
    ...common,
    name: "exclusive-row-comes-back-vs-discard",
    summary: "A touch takes two pages from a device, and another thread gives up the second.",
    setup: setupTaken,
    check: (_world, harness) => harness.runAfterwards(requireGone(harness)),
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { loads: [BACK, loadsFirst], discards: [["mm/entries/zap.zapRange"], discards] },
    twins: [
      [
        "unseen",
        "The second page is the CPU's again, whatever became of its entry.",
        "assertion",
        { loads: comesUnseen },
      ],
    ],
  }),
  coveringOnHarness<undefined>({
    ...common,
    name: "death/exclusive-row",
    summary: "A thread dies while two pages become exclusive; another adds to the second.",
    exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
    killable: ["takes"],
    mustSurvive: true,
    mayRemain: "anything",
    tasks: { takes: [TAKE, takes], adds: [FAULT, adds] },
    twins: [["in-two", IN_TWO, "assertion", { takes: takesInTwo }]],
  }),
];
