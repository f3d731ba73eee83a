/**
 * @module One thread alone with a file that it maps beside private memory: advice about both, a pin
 * of the file's pages, and memory that is populated in more than one turn of the mmap lock.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  MADV_COLD,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_WILLNEED,
  doMadvise,
} from "../../../../src/mm/calls/madvise.ts";
import { doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMsync } from "../../../../src/mm/calls/msync.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { pinUserPages, unpinUserPages } from "../../../../src/mm/view/pin.ts";
import { ENOMEM } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import { hmmOf } from "../../patches/stage.ts";
import {
  type Body,
  READ,
  WRITE,
  alone,
  mustStore,
  requireCached,
  requireWord,
} from "./file-alone.ts";
import { mapping } from "./mixed-stage.ts";
import { ADDRESS, FIRST, resize, sync } from "./store-stage.ts";

/** Pages of the file; a private one follows. */
const FILE_PAGES = 3;
const ALL_PAGES: number = FILE_PAGES + 1;

/** Of the file and the page behind it. */
function* advise({ machine, mm }: HmmHarness, advice: number): Task<void> {
  const answer = yield* doMadvise(machine, mm, ADDRESS, ALL_PAGES * PAGE_BYTES, advice);
  assert(answer === 0, `advice ${advice} was answered with ${answer}`);
}

/** Read ahead, stored to, written at once when their place in RAM is given up; then read again. */
const takesAdvice: Body = function* (stage, harness) {
  const { machine, mm } = harness;
  const { store: kept } = stage;
  const behind = ADDRESS + FILE_PAGES * PAGE_BYTES;
  yield* doMmap(machine, mm, mapping(FILE_PAGES, 1));
  yield* mustStore(harness, 4, FILE_PAGES);
  yield* advise(harness, MADV_WILLNEED);
  requireCached(harness, stage, "ccc");
  yield* mustStore(harness, 5, 1);
  yield* advise(harness, MADV_PAGEOUT);
  requireCached(harness, stage, "---");
  assert(kept.words.join() === `${FIRST},5,${FIRST}`, `the store has ${kept.words.join()}`);
  yield* mustStore(harness, 6, 1);
  const synced = yield* doMsync(machine, mm, ADDRESS, ALL_PAGES * PAGE_BYTES);
  assert(synced === 0 && kept.words[1] === 6, `msync answered ${synced}`);
  yield* requireWord(harness, 4, FILE_PAGES);
  yield* doMunmap(machine, mm, behind, PAGE_BYTES);
};

/** What may be written by the frames of a pin is dirty when it begins, and again when it ends. */
const pinsFile: Body = function* (stage, harness) {
  const { machine, mm } = harness;
  const { store: kept } = stage;
  const pinned = yield* pinUserPages(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 2, { write: true });
  assert(typeof pinned !== "number", "the pin is refused");
  requireCached(harness, stage, "dd");
  yield* sync(harness, stage);
  requireCached(harness, stage, "cc");
  const pfn = pinned.pfns[0]!;
  machine.ram.sections.of(pfn).i32[machine.ram.sections.wordIndex(pfn)] = 8;
  yield* resize(harness, stage, 1);
  yield* unpinUserPages(machine, pinned);
  requireCached(harness, stage, "d-");
  yield* sync(harness, stage);
  assert(kept.words.join() === "8", `the store has ${kept.words.join()}`);
};

/** Mapped again beside its other page, and refused where there may be no mapping more. */
const mapsAgain: Body = function* ({ cache }, { machine, mm }) {
  const first = { cache, shared: true } as const;
  yield* doMunmap(machine, mm, ADDRESS + PAGE_BYTES, PAGE_BYTES);
  const refusal = mapping(4, 1, first);
  const { limitVmas, vmaCount } = mm;
  mm.limitVmas = vmaCount;
  const refused = yield* doMmap(machine, mm, refusal);
  assert(refused === ENOMEM, `a mapping more than may be answered ${refused}`);
  mm.limitVmas = limitVmas;
  const answer = yield* doMmap(machine, mm, mapping(1, 1, { ...first, offsetPages: 1 }));
  assert(answer === ADDRESS + PAGE_BYTES, `the mapping answered ${answer}`);
  assert(mm.vmaCount === vmaCount, `there are ${mm.vmaCount} mappings`);
};

/** Where so many pages lie that they are populated in two turns of the mmap lock. */
const MANY_PAGE = 1024;
const MANY = 514;

/** The device gives up what it has of a page that is cold, and may have it again. */
function* cools(device: HarnessDevice, { machine, mm }: HmmHarness): Task<void> {
  for (let times = 0; times < 2; times++) {
    const served = yield* device.serve(HARNESS_PAGE, 1);
    assert(served === 0, `the device's fault answered ${served}`);
    assert(device.entry(HARNESS_PAGE) !== 0, "the device has no translation");
    const answer = yield* doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_COLD);
    assert(answer === 0, `the advice was answered with ${answer}`);
    assert(device.entry(HARNESS_PAGE) === 0, "the device still has a page that is cold");
  }
}

export const fileAdvice: readonly Covered[] = [
  alone({
    name: "advice",
    summary: "A file and the memory behind it are read ahead, paged out and written back.",
    pages: FILE_PAGES,
    body: takesAdvice,
    runs: [...READ, ...WRITE, "mm/calls/advise-source.pageOut"],
  }),
  alone({
    name: "pin",
    summary: "Pages of a file are pinned, written by their frames, and cut off meanwhile.",
    pages: 2,
    body: pinsFile,
    runs: [...WRITE, "mm/view/pin.pinUserPages", "mm/view/pin.unpinUserPages"],
  }),
  alone({
    name: "map-again",
    summary: "A page of a file is mapped again beside its neighbour: one mapping, as before.",
    pages: 2,
    body: mapsAgain,
    runs: ["mm/calls/mmap.doMmap", "mm/vma/vma-map.insertVma"],
  }),
  coveringOnHarness<HarnessDevice>({
    layer: "mm",
    name: "alone/cold",
    summary: "Private memory is cold: a device gives up what it has of it.",
    harness: { pages: 1 },
    setup: (harness) => HarnessDevice.registered(harness),
    tasks: { thread: [["mm/calls/advise-source.deactivate"], cools] },
    check(_device, harness) {
      const { notifiers, inFlightCount } = hmmOf(harness);
      assert(notifiers === 0 && inFlightCount === 0, "an invalidation goes on for ever");
    },
    twins: [],
  }),
  coveringOnHarness<undefined>({
    layer: "mm",
    name: "alone/populate",
    summary: "So much memory is populated that the mmap lock is given up in between.",
    harness: { pages: 0, arenaWords: 8192 },
    exploration: { maxSteps: 40_000 },
    setup(harness) {
      harness.map(MANY_PAGE, MANY);
      return undefined;
    },
    tasks: {
      thread: [
        ["mm/calls/populate.populateRange"],
        function* (_none, { machine, mm }) {
          const [at, bytes] = [MANY_PAGE * PAGE_BYTES, MANY * PAGE_BYTES];
          const answer = yield* doMadvise(machine, mm, at, bytes, MADV_POPULATE_READ);
          assert(answer === 0, `the advice was answered with ${answer}`);
        },
      ],
    },
    check(_none, harness) {
      for (const page of [MANY_PAGE, MANY_PAGE + MANY - 1])
        assert(harness.entryOf(page) !== 0, `page ${page} has not been populated`);
    },
    twins: [],
  }),
];
