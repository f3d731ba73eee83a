/**
 * @module Pages that come back from a device's memory, against what holds the mmap lock for
 * reading, too: a CPU thread, another migration, a fault of another device; and against exit. What
 * changes the mapping is in migrate-back.ts.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { WRITTEN_RIGHTS, makePte, ptePfn } from "../../../../src/mm/pte.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { bug } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import type { HarnessTwin } from "../on-harness.ts";
import { type Way, ways } from "./migrate-back.ts";
import { afterPut, exit, getUser, thenPut } from "./migrate-calls.ts";
import { deviceOf, mirroring, requireSum, serveAndAdd } from "./migrate-devices.ts";
import {
  BEFORE,
  PAGE,
  addTo,
  backToRam,
  copiesEarly,
  isOnDevice,
  locked,
  migrating,
  requireContents,
} from "./migrate-stage.ts";
import type { Body, MigrationWorld } from "./migrate-stage.ts";

const ONCE = { engine: "bounded", preemptions: 1 } as const;
const EXIT = ["mm/lifetime/mm.mmput"] as const;

const [back, touch, evict] = ["back", "touch", "evict"].map(
  (name) => ways.find((way) => way.name === name) ?? bug(`no way ${name}`),
) as [Way, Way, Way];

function copiedEarly(body: Body): HarnessTwin<MigrationWorld> {
  const broken = { move: copiesEarly(body) };
  return [
    "copied-early",
    "The contents are copied before the entry is taken.",
    "assertion",
    broken,
  ];
}

/** Broken: takes no entry; copies from the frame that it saw, and puts another one there. */
const replaceBlindly: Body = (_world, harness) => locked(harness, () => replace(harness));

function* replace(harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const { memory, ram } = machine;
  if (!isOnDevice(harness)) return;
  const from = ptePfn(harness.entryOf(PAGE));
  const to = yield* ram.allocFrame(false);
  yield* ram.copyFrame(from, to);
  const index = pteIndex(leafOf(memory, mm.pgd, PAGE), PAGE);
  yield* access(memory, "write", index, 1, "pte");
  atomicStore(memory.words, index, makePte(to, WRITTEN_RIGHTS));
  yield* mm.shootdown.flush(PAGE, PAGE + 1);
  yield* ram.refs.pagePut(from);
}

/** A CPU thread touches the page, and adds. */
function besideAdd({ name, why, runs, body }: Way): Covered {
  return migrating({
    name: `${name}-vs-add`,
    summary: `A page comes back because ${why}, while a CPU thread touches it and adds.`,
    isThere: true,
    exploration: ONCE,
    tasks: { move: [runs, body], add: [["mm/fault/cpu-fault.fault"], addTo(0)] },
    check: requireContents(BEFORE + 1),
    twins: [copiedEarly(body)],
  });
}

function besideMigration(one: Way, other: Way): Covered {
  return migrating({
    name: `${one.name}-vs-${other.name}`,
    summary: `A page comes back because ${one.why}, and, in another thread, because ${other.why}.`,
    isThere: true,
    exploration: ONCE,
    tasks: { move: [one.runs, one.body], other: [other.runs, other.body] },
    check(world, harness) {
      requireContents(BEFORE)(world, harness);
      const { usedPages } = world.memory;
      if (isOnDevice(harness) || usedPages !== 0) bug("The page is on the device");
    },
    twins: [
      [
        "blind",
        "One puts another frame in the place of the one that it saw, without taking the entry.",
        "assertion",
        { move: replaceBlindly },
      ],
    ],
  });
}

/** Another device faults on the page; its thread adds. */
function besideServe({ name, why, runs, body }: Way): Covered {
  return migrating({
    name: `${name}-vs-serve`,
    summary: `A page comes back because ${why}, while another device faults on it.`,
    isThere: true,
    exploration: ONCE,
    prepare: mirroring(undefined, false),
    tasks: { move: [runs, body], serve: [["hmm/walk/fault.hmmRangeFault"], serveAndAdd] },
    check(world, harness) {
      deviceOf(world).requireCoherent();
      requireSum(1)(world, harness);
      if (world.memory.usedPages !== 0) bug("A frame of the device is used");
    },
    twins: [copiedEarly(body)],
  });
}

function requireNoneUsed({ memory }: MigrationWorld): void {
  if (memory.usedPages !== 0) bug("A frame of the device is used");
}

function besideExit({ name, why, runs, body }: Way): Covered {
  return migrating({
    name: `${name}-vs-exit`,
    summary: `A page comes back because ${why}, while the last other user of the space goes.`,
    isThere: true,
    exploration: ONCE,
    prepare: getUser,
    tasks: { move: [[...runs, ...EXIT], thenPut(body)], exit: [EXIT, exit] },
    check: requireNoneUsed,
    twins: [
      [
        "put-first",
        "The thread that moves the page has put its user before.",
        "use-after-free",
        { move: afterPut(body) },
      ],
    ],
  });
}

/** An eviction finds the space in a list, and gets a user of it, or not. */
const evictionBesideExit: Covered = migrating({
  name: "evict-vs-exit",
  summary: `A page comes back because ${evict.why}, while the last user of the space goes.`,
  isThere: true,
  exploration: ONCE,
  tasks: { move: [evict.runs, evict.body], exit: [EXIT, exit] },
  check: requireNoneUsed,
  twins: [
    [
      "without-user",
      "The device looks into a space of which it has no user.",
      "use-after-free",
      { move: backToRam },
    ],
  ],
});

export const besideMigrationsBack: readonly Covered[] = [
  besideAdd(back),
  besideAdd(evict),
  besideMigration(back, back),
  besideMigration(back, touch),
  besideMigration(back, evict),
  besideMigration(touch, evict),
  besideMigration(evict, evict),
  besideServe(back),
  besideServe(touch),
  besideExit(back),
  besideExit(touch),
  evictionBesideExit,
];
