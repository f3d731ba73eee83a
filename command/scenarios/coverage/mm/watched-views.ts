/**
 * @module A watched read view (mm/view/view-watch.ts), while CPU threads store to its page, a
 * device tracks the page, and a write view opens and stores. In no order is one of these stores
 * reported as a stray one.
 *
 * A store is one step, as in copy-on-write.ts.
 */

import { harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import { type HmmHarness, HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { MAP_FIXED_REPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMremap } from "../../../../src/mm/calls/mremap.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { PAGE_BYTES, PTE_WRITE, ptePfn } from "../../../../src/mm/pte.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { findStrayStore, watchView } from "../../../../src/mm/view/view-watch.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { addResource, kindWord, removeResource } from "../../../../src/sync/lockdep/resources.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

type Body = (harness: HmmHarness) => Task<void>;

function bytesOf({ machine }: HmmHarness, pfn: number): Uint8Array {
  const start = machine.ram.sections.wordIndex(pfn) * 4;
  return machine.ram.sections.of(pfn).u8.subarray(start, start + PAGE_BYTES);
}

/**
 * Opens a read view, watches it and checks it. `isEarly`: its bytes are copied before the page is
 * tracked.
 */
function* watching(harness: HmmHarness, isEarly: boolean): Task<void> {
  const { machine, mm } = harness;
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, false);
  assert(at > 0 || at === EBUSY, `the view answered ${at}`);
  if (at < 0) return;
  const hold = ViewHold.at(machine.memory, at);
  const bytes = bytesOf(harness, hold.pfn);
  const early = bytes.slice();
  const watch = yield* watchView(machine, hold, bytes, 0);
  if (watch !== undefined) {
    const noted = isEarly ? { ...watch, before: early } : watch;
    const stray = yield* findStrayStore(machine, hold, bytes, 0, noted);
    assert(stray < 0, `byte ${stray} is said to have been changed by a stray store`);
  }
  yield* viewClose(machine, at);
}

const view: Body = (harness) => watching(harness, false);

/** Stores to the page as a CPU thread does. */
function* store(harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const { memory } = machine;
  for (;;) {
    const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
    // "update": the entry stands for the frame that is written.
    yield* access(memory, "update", index, 1, "pte");
    const pte = harness.entryOf(HARNESS_PAGE);
    if ((pte & PTE_WRITE) === 0) {
      yield* harness.touch(HARNESS_PAGE);
      continue;
    }
    bytesOf(harness, ptePfn(pte))[8] = 1;
    return;
  }
}

/** Tracks the page, as a device does before it copies. */
function* track({ machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* trackRange(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, new Uint8Array(1));
  yield* mm.mmapLock.upRead();
}

function* writeView(harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  assert(at > 0 || at === EBUSY, `the view answered ${at}`);
  if (at < 0) return;
  bytesOf(harness, ViewHold.at(machine.memory, at).pfn)[4] = 1;
  yield* viewClose(machine, at);
}

const WATCH = [
  "mm/view/view-watch.watchView",
  "mm/view/view-watch.findStrayStore",
  "mm/view/view-watch.closeWatch",
] as const;
const RUNS = {
  store: ["mm/fault/cpu-fault.cpuFault"],
  track: ["mm/fault/track.trackRange"],
  "write view": ["mm/view/view-open.viewOpen", "mm/view/view-hold.beginHold"],
} as const;
const BODIES: Readonly<Record<keyof typeof RUNS, Body>> = { store, track, "write view": writeView };

function beside(
  name: string,
  summary: string,
  others: readonly (keyof typeof RUNS)[],
  exploration: ScenarioExploration = {},
): Covered {
  const fullName = `coverage/mm/${name}`;
  const bodies = Object.fromEntries(others.map((other) => [other, BODIES[other]]));
  const make = (
    ownName: string,
    about: string,
    watcher: Body,
    isTwin: boolean,
  ): Covered["scenario"] =>
    harnessScenario<undefined>({
      name: ownName,
      summary: about,
      exploration,
      ...(isTwin ? { expects: "assertion" } : {}),
      harness: { pages: 1 },
      balanced: true,
      setup: () => undefined,
      tasks: Object.fromEntries(
        Object.entries({ view: watcher, ...bodies }).map(([task, body]) => [
          task,
          (_: undefined, harness: HmmHarness) => body(harness),
        ]),
      ),
    });
  return {
    layer: "mm",
    scenario: make(fullName, summary, view, false),
    twins: [
      make(
        `${fullName}/noted-early`,
        "The view's bytes are noted before its page is write-protected.",
        (harness) => watching(harness, true),
        true,
      ),
    ],
    runs: { view: WATCH, ...Object.fromEntries(others.map((other) => [other, RUNS[other]])) },
  };
}

/**
 * A write view is open over the first of three pages when the read view of all is watched: what it
 * stores is no stray store. One to the last page is, and is found behind a page without any.
 */
function* watchesThree(harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const writing = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
  const reading = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 3, false);
  assert(writing > 0 && reading > 0, `the views answered ${writing} and ${reading}`);
  const hold = ViewHold.at(machine.memory, reading);
  const start = machine.ram.sections.wordIndex(hold.pfn) * 4;
  const bytes = machine.ram.sections.of(hold.pfn).u8.subarray(start, start + 3 * PAGE_BYTES);
  const watch = yield* watchView(machine, hold, bytes, 0);
  if (watch === undefined) bug("nothing of the view is watched");
  const requireFound = function* (wanted: number): Task<void> {
    const found = yield* findStrayStore(machine, hold, bytes, 0, watch);
    assert(found === wanted, `a stray store is found at byte ${found}, not ${wanted}`);
  };
  bytes[8] = 1;
  yield* requireFound(-1);
  bytes[2 * PAGE_BYTES + 8] = 1;
  yield* requireFound(2 * PAGE_BYTES + 8);
  yield* viewClose(machine, reading);
  yield* viewClose(machine, writing);
}

const alone: Covered = {
  layer: "mm",
  scenario: harnessScenario<undefined>({
    name: "coverage/mm/watched-view-alone",
    summary:
      "A stray store is found in the last page of a view, and those of a write view are none.",
    harness: { pages: 3 },
    balanced: true,
    setup: () => undefined,
    tasks: { thread: (_, harness) => watchesThree(harness) },
  }),
  twins: [],
  runs: { thread: WATCH },
};

/**
 * Private memory comes to the place of a read view of shared memory before that is watched. What is
 * stored by the other mapping of the shared memory then is no stray store.
 */
function* watchesReplaced(harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, false);
  assert(at > 0, `the view answered ${at}`);
  const hold = ViewHold.at(machine.memory, at);
  const place = { lengthBytes: PAGE_BYTES, address: HARNESS_PAGE * PAGE_BYTES };
  const request = { ...place, placement: MAP_FIXED_REPLACE, protection: VM_READ | VM_WRITE };
  yield* doMmap(machine, mm, { ...request, shared: false, bufferPfn: 0, offsetPages: 0 });
  yield* harness.touch(HARNESS_PAGE);
  const bytes = bytesOf(harness, hold.pfn);
  const watch = yield* watchView(machine, hold, bytes, 0);
  yield* new HarnessCpu(harness).store(OTHER * PAGE_BYTES, 1);
  assert(bytes[0] === 1, "the other mapping is of other memory");
  const stray = watch === undefined ? -1 : yield* findStrayStore(machine, hold, bytes, 0, watch);
  assert(stray < 0, `byte ${stray} is said to have been changed by a stray store`);
  yield* viewClose(machine, at);
}

/** Where the shared memory is mapped once more. */
const OTHER: number = HARNESS_PAGE + 8;

const replaced: Covered = {
  layer: "mm",
  scenario: harnessScenario<undefined>({
    name: "coverage/mm/watched-view-of-replaced",
    summary: "Private memory is at the place of a read view of shared memory that is watched.",
    harness: { pages: 0, arenaWords: 8192 },
    mayRemain: "anything",
    setup(harness) {
      const { machine, mm } = harness;
      harness.map(HARNESS_PAGE, 1, VM_READ | VM_WRITE, true);
      harness.run(harness.touch(HARNESS_PAGE));
      const [address, to] = [HARNESS_PAGE * PAGE_BYTES, OTHER * PAGE_BYTES];
      const lengths = { oldLengthBytes: 0, newLengthBytes: PAGE_BYTES };
      harness.run(doMremap(machine, mm, { address, ...lengths, mayMove: true, to }));
      return undefined;
    },
    tasks: { thread: (_, harness) => watchesReplaced(harness) },
  }),
  twins: [],
  // Nothing of it is watched in the end, so there is nothing to look for.
  runs: { thread: ["mm/view/view-watch.watchView", "mm/view/view-watch.closeWatch"] },
};

/** As `view`, but for a step the view is not listed among what its thread owns. */
function* viewUnlisted({ machine, mm }: HmmHarness): Task<void> {
  const { memory } = machine;
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, false);
  const hold = ViewHold.at(memory, at);
  const kind = memory.words[kindWord(memory, hold.slot)]!;
  removeResource(memory, hold.slot);
  yield* access(memory, "read", mm.at, 1, "between");
  hold.slot = addResource(memory, kind, at);
  yield* viewClose(machine, at);
}

function dying(name: string, summary: string, dies: Body, isTwin: boolean): Covered["scenario"] {
  return harnessScenario<undefined>({
    name,
    summary,
    exploration: { deaths: 1, engine: "bounded", preemptions: 0 },
    ...(isTwin ? { expects: "assertion" } : {}),
    harness: { pages: 1 },
    balanced: true,
    killable: ["dies"],
    mustSurvive: true,
    setup: () => undefined,
    tasks: { dies: (_, harness) => dies(harness), store: (_, harness) => store(harness) },
  });
}

const DEATH = "coverage/mm/death/watched-view";

/** The watch is a notifier of the space: who finds its thread dead takes it off. */
const death: Covered = {
  layer: "mm",
  scenario: dying(
    DEATH,
    "A thread dies at any step of a watched view's life, and another stores to its page.",
    view,
    false,
  ),
  twins: [dying(`${DEATH}/unlisted`, "For a step the view is not listed.", viewUnlisted, true)],
  runs: { dies: WATCH, store: RUNS.store },
};

export const watchedViews: readonly Covered[] = [
  alone,
  replaced,
  death,
  beside(
    "watched-view-vs-store",
    "A thread stores to the page of a read view while the view is watched.",
    ["store"],
  ),
  beside(
    "watched-view-vs-store-vs-track",
    "A thread stores to the page of a read view, and a device write-protects it for a copy, while the view is watched.",
    ["store", "track"],
    { engine: "bounded", preemptions: 2 },
  ),
  beside(
    "watched-view-vs-write-view",
    "A write view of the page opens and stores while a read view of it is watched.",
    ["write view"],
    { engine: "bounded", preemptions: 2 },
  ),
];
