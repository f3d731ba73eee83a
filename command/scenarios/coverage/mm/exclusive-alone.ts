/**
 * @module One thread takes a page for a device, once more for another one, and for the CPU again.
 * After each call it is checked who has the page, that the other device has lost what it had of it,
 * and that no invalidation goes on (X1 to X3 of mm/migrate/exclusive.ts).
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { makeDeviceExclusive } from "../../../../src/mm/migrate/exclusive.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  PTE_WRITE,
  makeNonPresent,
  pteKind,
  ptePfn,
} from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { EBUSY, type Errno } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";
import { hmmOf } from "../../patches/stage.ts";

type Body = HarnessBody<HarnessDevice>;
type Take = (harness: HmmHarness, owner: number) => Task<Errno>;

const PAGES = { startPage: HARNESS_PAGE, endPage: HARNESS_PAGE + 1 };

function* take({ machine, mm }: HmmHarness, owner: number): Task<Errno> {
  yield* mm.mmapLock.downRead();
  const answer = yield* makeDeviceExclusive(machine, mm, PAGES, { owner, range: 0 });
  yield* mm.mmapLock.upRead();
  return answer;
}

/** As `take`, but nobody is told of it, and no pin is looked for. */
function* takeUntold({ machine, mm }: HmmHarness): Task<Errno> {
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(memory, "write", index, 1, "pte");
  const pfn = ptePfn(memory.words[index]!);
  atomicStore(memory.words, index, makeNonPresent(KIND_DEVICE_EXCLUSIVE, pfn));
  yield* mm.shootdown.flush(HARNESS_PAGE, HARNESS_PAGE + 1);
  yield* mm.mmapLock.upRead();
  return 0;
}

function requireSettled(device: HarnessDevice, harness: HmmHarness): void {
  const { notifiers, inFlightCount } = hmmOf(harness);
  assert(notifiers === 0 && inFlightCount === 0, "an invalidation goes on for ever");
  assert(device.entry(HARNESS_PAGE) === 0, "the other device has not lost the page");
}

const whole = (takes: Take): Body =>
  function* (device, harness) {
    const { machine, mm } = harness;
    const view = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, false);
    const refused = yield* takes(harness, 1);
    assert(refused === EBUSY, `a pinned page is taken, which answered ${refused}`);
    yield* viewClose(machine, view);
    assert((yield* device.serve(HARNESS_PAGE, 1)) === 0, "the device gets the page");
    const pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
    for (const owner of [1, 2]) {
      assert((yield* takes(harness, owner)) === 0, `device ${owner} does not get the page`);
      const pte = harness.entryOf(HARNESS_PAGE);
      const isTaken = pteKind(pte) === KIND_DEVICE_EXCLUSIVE && ptePfn(pte) === pfn;
      assert(isTaken, `device ${owner} has the page, and its entry is ${pte}`);
      requireSettled(device, harness);
    }
    assert((yield* cpuFault(machine, mm, HARNESS_PAGE, true)) === 0, "the CPU gets the page");
    const back = harness.entryOf(HARNESS_PAGE);
    assert((back & PTE_WRITE) !== 0 && ptePfn(back) === pfn, `it came back as ${back}`);
    requireSettled(device, harness);
  };

const EXCLUSIVE = "mm/migrate/exclusive.makeDeviceExclusive";

/** Takes the page for a device; others that do so, too, do not keep it from that. */
const takes =
  (owner: number, takeIt: Take = take): Body =>
  (_device, harness) =>
    mustTake(harness, owner, takeIt);

function* mustTake(harness: HmmHarness, owner: number, takeIt: Take): Task<void> {
  const answer = yield* takeIt(harness, owner);
  assert(answer === 0, `device ${owner} does not get the page: ${answer}`);
}

/** As `take`, but a page that is exclusive already is refused. */
function* takeIfFree(harness: HmmHarness, owner: number): Task<Errno> {
  const { machine, mm } = harness;
  const index = pteIndex(leafOf(machine.memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(machine.memory, "read", index, 1, "pte");
  const isTaken = pteKind(harness.entryOf(HARNESS_PAGE)) === KIND_DEVICE_EXCLUSIVE;
  return isTaken ? EBUSY : yield* take(harness, owner);
}

/** Two devices at the same time: the page may become exclusive between two looks at it. */
const besideEachOther: Covered = coveringOnHarness<HarnessDevice>({
  layer: "mm",
  name: "exclusive-vs-exclusive",
  summary: "Two devices take the same page for themselves. Both get it, one after the other.",
  harness: { pages: 1 },
  exploration: { engine: "bounded", preemptions: 2 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: { one: [[EXCLUSIVE], takes(1)], other: [[EXCLUSIVE], takes(2)] },
  check(device, harness) {
    const pte = harness.entryOf(HARNESS_PAGE);
    assert(pteKind(pte) === KIND_DEVICE_EXCLUSIVE, `it is exclusive, and its entry is ${pte}`);
    requireSettled(device, harness);
  },
  twins: [
    [
      "refused",
      "A page that another device has already is refused.",
      "assertion",
      { one: takes(1, takeIfFree), other: takes(2, takeIfFree) },
    ],
  ],
});

export const exclusiveAlone: readonly Covered[] = [
  besideEachOther,
  coveringOnHarness<HarnessDevice>({
    layer: "mm",
    name: "alone/exclusive",
    summary:
      "A page is taken by one device and by another one, and comes back to the CPU; while it is pinned nobody gets it.",
    harness: { pages: 1 },
    setup: (harness) => HarnessDevice.registered(harness),
    tasks: {
      thread: [[EXCLUSIVE, "mm/fault/device-exclusive.deviceExclusiveFault"], whole(take)],
    },
    twins: [
      [
        "untold",
        "The page is taken without a look at pins, and no device is told.",
        "assertion",
        { thread: whole(takeUntold) },
      ],
    ],
  }),
];
