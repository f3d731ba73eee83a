/**
 * @module A page is pinned, and written through its frame, while another thread moves it or forks.
 * What is stored through the pin is the page's.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { DEVICE_COHERENT } from "../../../../src/memory/frames/device-frames.ts";
import { dataStep } from "../../../../src/memory/frames/page-data.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { ptePfn } from "../../../../src/mm/pte.ts";
import { pinUserPages, unpinUserPages } from "../../../../src/mm/view/pin.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { evict } from "./migrate-calls.ts";
import {
  BEFORE,
  PAGE,
  addTo,
  backToRam,
  childOf,
  contents,
  locked,
  migrating,
  requireContents,
  toDevice,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";

const PIN = ["mm/view/pin.pinUserPages", "mm/view/pin.unpinUserPages"] as const;
const MOVE = ["mm/migrate/migrate-vma.migrateRange"] as const;

/** Stores 1 to the frame, without an entry. Notes whether there was a child by then. */
function* storeTo(world: MigrationWorld, { machine }: HmmHarness, pfn: number): Task<void> {
  const { sections } = machine.ram;
  world.seen.push(world.child === 0 ? BEFORE : 1);
  yield* dataStep(machine.memory, "write", pfn);
  sections.of(pfn).i32[sections.wordIndex(pfn)] = 1;
}

export function pinning(longTerm: boolean): Body {
  return function* (world, harness) {
    const { machine, mm } = harness;
    const options = { write: true, longTerm };
    const answer = yield* pinUserPages(machine, mm, PAGE, PAGE + 1, options);
    const pinned = typeof answer === "number" ? bug(`The pin answered ${answer}`) : answer;
    for (const pfn of pinned.pfns) yield* storeTo(world, harness, pfn);
    yield* unpinUserPages(machine, pinned);
  };
}

/** Broken: keeps the frame alive, and does not pin it. */
export function* referring(world: MigrationWorld, harness: HmmHarness): Task<void> {
  const { refs } = harness.machine.ram;
  let pfn = 0;
  yield* locked(harness, function* () {
    pfn = ptePfn(harness.entryOf(PAGE));
    yield* refs.pageGet(pfn);
  });
  yield* storeTo(world, harness, pfn);
  yield* refs.pagePut(pfn);
}

export const REFERENCE = "The frame has a reference, and no pin.";

export const pinsOfPages: readonly Covered[] = [
  migrating({
    name: "pin-vs-to-device",
    summary: "A page is pinned and written through its frame, while another thread moves it.",
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { pin: [PIN, pinning(false)], migrate: [MOVE, toDevice] },
    check: requireContents(1),
    twins: [["reference", REFERENCE, "assertion", { pin: referring }]],
  }),
  migrating({
    name: "pin-vs-back",
    summary: "A page in coherent memory is pinned for long, while its device gives it up.",
    type: DEVICE_COHERENT,
    isThere: true,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { pin: [PIN, pinning(true)], migrate: [MOVE, backToRam] },
    check: requireContents(1),
    twins: [["reference", REFERENCE, "assertion", { pin: referring }]],
  }),
  migrating({
    name: "short-pin-vs-back",
    summary: "A page in coherent memory is pinned where it is, while its device gives it up.",
    type: DEVICE_COHERENT,
    isThere: true,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: { pin: [PIN, pinning(false)], migrate: [MOVE, backToRam] },
    check: requireContents(1),
    twins: [["reference", REFERENCE, "assertion", { pin: referring }]],
  }),
  migrating({
    name: "pin-vs-evict",
    summary: "A page in coherent memory is pinned for long, while its frame is evicted.",
    type: DEVICE_COHERENT,
    isThere: true,
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: {
      pin: [PIN, pinning(true)],
      evict: [["mm/migrate/device-evict.evictDeviceFrame", ...MOVE], evict],
    },
    check: requireContents(1),
    twins: [["reference", REFERENCE, "assertion", { pin: referring }]],
  }),
  migrating({
    name: "pin-vs-touch",
    summary: "A page in private memory is pinned, which brings it back, as does a touch meanwhile.",
    isThere: true,
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: {
      pin: [PIN, pinning(false)],
      touch: [["mm/fault/device-private.devicePrivateFault", ...MOVE], addTo(1)],
    },
    check(world, harness) {
      requireContents(1)(world, harness);
      if (contents(harness, harness.mm, 1) !== 1) bug("The CPU's store is lost");
    },
    twins: [["reference", REFERENCE, "assertion", { pin: referring }]],
  }),
  migrating({
    name: "pin-vs-fork",
    summary: "A page is pinned and written through its frame, while another thread forks.",
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      pin: [PIN, pinning(false)],
      fork: [
        ["mm/lifetime/fork.doFork"],
        function* (world: MigrationWorld, { machine, mm }: HmmHarness): Task<void> {
          world.child = yield* doFork(machine, mm);
        },
      ],
    },
    check(world, harness) {
      requireContents(1)(world, harness);
      const inChild = contents(harness, childOf(world, harness));
      // The child was there before the store, so it does not see it.
      if (world.seen[0] === 1 && inChild !== BEFORE) bug(`The child's page holds ${inChild}`);
    },
    twins: [["reference", REFERENCE, "assertion", { pin: referring }]],
  }),
];
