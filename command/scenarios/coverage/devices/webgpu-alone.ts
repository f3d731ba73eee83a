/**
 * @module What the Worker of a WebGPU device does by itself, on a model GPU: pages that cannot be
 * had as others are, frames that are short, backups, the loss of the GPU, and the end. Nobody
 * disturbs it, so each of these has a few executions. Each twin leaves out one thing.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { endPrivateMemory, want } from "../../../../src/devices/webgpu-record/private-memory.ts";
import { type PageWant, WANT_PREFETCH, WANT_READ } from "../../../../src/devices/webgpu/bring.ts";
import { STAGED_PAGES } from "../../../../src/devices/webgpu/gpu.ts";
import { WANTED_MAX } from "../../../../src/devices/webgpu-record/record.ts";
import { KIND_DEVICE_PRIVATE, PAGE_BYTES, pteKind } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { EFAULT, EIO } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { DONE, type Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type ModelProgram, StrictGpu } from "./model-gpu.ts";
import {
  ADD,
  BEFORE,
  type Body,
  CHUNK,
  type Opened,
  type Parts,
  READ_PAGE,
  type Variant,
  WRITTEN_PAGE,
  type World,
  contentOf,
  errnoOfChunk,
  make,
  openRunner,
  outcomeOf,
  requireCoherent,
  runOne,
  server,
} from "./webgpu-stage.ts";

const READ: number = READ_PAGE * PAGE_BYTES;
const WRITTEN: number = WRITTEN_PAGE * PAGE_BYTES;
const THIRD_PAGE: number = HARNESS_PAGE + 2;
const THIRD: number = THIRD_PAGE * PAGE_BYTES;
const FOURTH: number = (HARNESS_PAGE + 3) * PAGE_BYTES;
/** It is mapped nowhere. */
const HOLE: number = (HARNESS_PAGE + 8) * PAGE_BYTES;
const SUM: number = BEFORE + 1;
const OTHER_SUM = 20;

type Case = Omit<Parts, "name" | "summary">;

/** The Worker, which ends by itself. */
function alone(work: (opened: Opened, world: World, harness: HmmHarness) => Task<unknown>): Body {
  return function* (world, harness) {
    const opened = yield* openRunner(world, 0, harness);
    yield* work(opened, world, harness);
    yield* opened.parts.bringer.close();
    yield* opened.own.privatePages?.leave() ?? world.served.complete();
  };
}

function* runDone(world: World, opened: Opened, ...programs: ModelProgram[]): Task<void> {
  for (const program of programs) {
    yield* runOne(world, opened, program);
    assert(outcomeOf(world) === "done", `the chunk "${program.name}" is ${outcomeOf(world)}`);
  }
}

function requireWord(world: World, harness: HmmHarness, page: number, expected: number): void {
  const word = contentOf(world, harness, page, 0);
  assert(word === expected, `page ${page} has ${word}, not ${expected}`);
}

function isPrivate(harness: HmmHarness, page: number): boolean {
  return pteKind(harness.entryOf(page)) === KIND_DEVICE_PRIVATE;
}

const storeTo = (address: number, value: number): ModelProgram => ({
  name: "store",
  workgroup: (memory) => memory.store(address, value),
});

const addTo = (address: number): ModelProgram => ({
  name: "add one",
  workgroup: (memory) => memory.store(address, memory.load(address) + 1),
});

/** Stores, and finds out only then that it needs another page. */
const storeThenLoad = (address: number, other: number): ModelProgram => ({
  name: "store and load",
  workgroup(memory) {
    const isThere = memory.load(READ_PAGE * PAGE_BYTES) !== 0;
    memory.store(address, memory.load(address) + 1);
    if (isThere) void memory.load(other);
  },
});

/** Of two pages in one piece the second is shared memory, which nobody can have for himself. */
const shared: Case = {
  tasks: {
    chunk: alone(function* (opened, world) {
      const both: ModelProgram = {
        name: "both",
        workgroups: 2,
        workgroup: (memory, group) =>
          memory.store(WRITTEN + group * PAGE_BYTES, memory.load(WRITTEN + group * PAGE_BYTES) + 1),
      };
      yield* runDone(world, opened, both, storeThenLoad(THIRD, FOURTH), both);
    }),
  },
  prepare(harness) {
    harness.map(THIRD_PAGE, 1, VM_READ | VM_WRITE, true);
    harness.map(THIRD_PAGE + 1, 1);
  },
  preemptions: 0,
  check(world, harness) {
    requireWord(world, harness, WRITTEN_PAGE, 2);
    requireWord(world, harness, THIRD_PAGE, 3);
    requireCoherent(world, harness);
  },
};

/** What a pure program has stored before it faults is undone, though it need not be at once. */
const pureFault: Case = {
  tasks: {
    chunk: alone(function* (opened, world) {
      yield* runDone(world, opened, ADD);
      const faults = { ...storeThenLoad(WRITTEN, HOLE), isPure: true };
      yield* runOne(world, opened, faults);
      const isFault = outcomeOf(world) === "fault" && errnoOfChunk(world) === EFAULT;
      assert(isFault, `the chunk is ${outcomeOf(world)}`);
      yield* runDone(world, opened, ADD);
    }),
  },
  preemptions: 0,
  check(world, harness) {
    requireWord(world, harness, WRITTEN_PAGE, 2 * SUM);
    requireCoherent(world, harness);
  },
};

/** One frame of private memory, and one of the pool, for two pages in turn. */
const short: Case = {
  tasks: {
    chunk: alone(function* (opened, world, harness) {
      yield* runDone(world, opened, storeTo(WRITTEN, SUM), storeTo(THIRD, OTHER_SUM));
      assert(isPrivate(harness, THIRD_PAGE), "the second page is not the device's alone");
      yield* runDone(world, opened, addTo(WRITTEN));
      assert(isPrivate(harness, WRITTEN_PAGE), "the first page is not the device's alone");
    }),
    server,
  },
  variant: { privateFrames: 1, frames: 3, Gpu: StrictGpu },
  pages: 3,
  preemptions: 0,
  check(world, harness) {
    requireWord(world, harness, WRITTEN_PAGE, SUM + 1);
    requireWord(world, harness, THIRD_PAGE, OTHER_SUM);
  },
};

/** The page that the chunk uses already does not leave private memory for the next one. */
const pinned: Case = {
  tasks: {
    chunk: alone(function* (opened, world) {
      const later: ModelProgram = {
        name: "later",
        workgroup(memory) {
          const value = memory.load(READ_PAGE * PAGE_BYTES);
          memory.store(WRITTEN, value);
          if (value !== 0) memory.store(THIRD, value);
        },
      };
      yield* runDone(world, opened, later);
    }),
    server,
  },
  variant: { privateFrames: 1 },
  pages: 3,
  preemptions: 0,
  check(world, harness) {
    requireWord(world, harness, WRITTEN_PAGE, BEFORE);
    requireWord(world, harness, THIRD_PAGE, BEFORE);
  },
};

/** One backup: the page that was stored to before the last may not be stored to, and comes back. */
const backups: Case = {
  tasks: {
    chunk: alone(function* (opened, world) {
      yield* runDone(world, opened, storeTo(WRITTEN, SUM), storeTo(THIRD, OTHER_SUM));
      yield* runDone(world, opened, addTo(THIRD));
      assert(opened.own.privatePages?.counts.readBack === 0, "a page was read back for nothing");
      yield* runDone(world, opened, addTo(WRITTEN), storeThenLoad(WRITTEN, FOURTH));
    }),
    server,
  },
  variant: { privateFrames: 2, slots: 1 },
  pages: 4,
  preemptions: 0,
  check(world, harness) {
    requireWord(world, harness, WRITTEN_PAGE, SUM + 2);
    requireWord(world, harness, THIRD_PAGE, OTHER_SUM + 1);
  },
};

const loadRead: ModelProgram = {
  name: "load",
  workgroup: (memory) => void memory.load(READ_PAGE * PAGE_BYTES),
};

const STORE_TWO: ModelProgram = {
  name: "store two",
  workgroup(memory) {
    memory.store(WRITTEN, SUM);
    memory.store(THIRD, OTHER_SUM);
  },
};

/** Adds to both, and finds out only then that it needs another page. */
const ADD_BOTH: ModelProgram = {
  name: "both, and a third",
  workgroup(memory) {
    const isThere = memory.load(READ_PAGE * PAGE_BYTES) !== 0;
    for (const address of [WRITTEN, THIRD]) memory.store(address, memory.load(address) + 1);
    if (isThere) void memory.load(FOURTH);
  },
};

/** One backup for two pages that were stored to in the last commit: one of them is read back. */
const readBack: Case = {
  tasks: {
    chunk: alone((opened, world) => runDone(world, opened, STORE_TWO, ADD_BOTH)),
    server,
  },
  variant: { privateFrames: 2, slots: 1 },
  pages: 4,
  preemptions: 0,
  check(world, harness) {
    requireWord(world, harness, WRITTEN_PAGE, SUM + 1);
    requireWord(world, harness, THIRD_PAGE, OTHER_SUM + 1);
  },
};

/** The GPU is lost while pages are read back to make room for their backups. */
const lostInBackUp: Case = {
  tasks: {
    chunk: alone(function* (opened, world, harness) {
      yield* runDone(world, opened, STORE_TWO);
      yield* world.losses.store(1);
      yield* runOne(world, opened, addTo(WRITTEN));
      const isLost = outcomeOf(world) === "fault" && errnoOfChunk(world) === EIO;
      assert(isLost, `the chunk is ${outcomeOf(world)}`);
      yield* harness.discard(WRITTEN_PAGE, 2);
      // The frames that had the pages have them again, and no backup.
      yield* runDone(world, opened, ADD_BOTH);
    }),
    server,
  },
  variant: { privateFrames: 2, slots: 1 },
  pages: 4,
  preemptions: 0,
  check(world, harness) {
    requireWord(world, harness, WRITTEN_PAGE, 1);
    requireWord(world, harness, THIRD_PAGE, 1);
  },
};

/** The GPU is lost in a pass. Of two pages of its memory one is lost; the other goes to RAM. */
const lostAtEnd: Case = {
  tasks: {
    chunk: alone(function* (opened, world, harness) {
      const { record, privatePages } = opened.own;
      yield* runDone(world, opened, storeTo(THIRD, OTHER_SUM));
      yield* privatePages?.flushAll() ?? DONE;
      yield* runDone(world, opened, storeTo(WRITTEN, SUM));
      yield* world.losses.store(1);
      yield* runDone(world, opened, loadRead);
      assert(!(yield* endPrivateMemory(harness.machine, record)), "a page is lost");
    }),
    server,
  },
  variant: { privateFrames: 2 },
  pages: 3,
  preemptions: 0,
  check(world, harness) {
    assert(isPrivate(harness, WRITTEN_PAGE), "nobody has the page that is lost");
    assert(!isPrivate(harness, THIRD_PAGE), "the page that is not lost stays on the device");
    requireWord(world, harness, THIRD_PAGE, OTHER_SUM);
    const none = world.devices.every(({ own }) => own?.privatePages?.counts.readBack === 1);
    assert(none, "a page was read from a GPU that never had it");
  },
};

/** Two pages in a row are read, and two more are brought along. */
const prefetched: Case = {
  tasks: {
    chunk: alone(function* (opened, world) {
      yield* runDone(world, opened, {
        name: "load two",
        workgroup: (memory) => void (memory.load(READ) + memory.load(WRITTEN)),
      });
      const { prefetched: pages } = opened.parts.bringer.counts;
      assert(pages === 2, `${pages} pages were brought along, not 2`);
    }),
  },
  variant: { frames: 8 },
  pages: 4,
  preemptions: 0,
  check: requireCoherent,
};

/** Pages that are brought at once, more than are copied at once. The last is not mapped. */
const MANY_PAGE: number = HARNESS_PAGE + 64;
const MANY_END: number = MANY_PAGE + STAGED_PAGES + 2;
const NOT_THERE: number = MANY_END - 1;
/** So many more are prefetched, of which there is none. */
const EARLY_PAGES = 512;

/** Many pages are brought, all but one; before memory is had of the GPU no lock is taken. */
const many: Case = {
  tasks: {
    chunk: alone(function* ({ own, parts }) {
      const wants = new Map<number, PageWant>();
      for (let page = MANY_PAGE; page < MANY_END; page++) wants.set(page, WANT_READ);
      for (let i = 0; i < EARLY_PAGES; i++) wants.set(MANY_END + i, WANT_PREFETCH);
      const { failures } = yield* parts.bringer.bring(wants);
      const failed = failures.map(({ page, errno }) => `${page}: ${errno}`).join();
      assert(failed === `${NOT_THERE}: ${EFAULT}`, `the pages that failed are ${failed}`);
      for (let page = MANY_PAGE; page < MANY_END; page++)
        assert(own.pool.allows(page, false) === (page !== NOT_THERE), `page ${page} is not there`);
    }),
  },
  variant: { frames: STAGED_PAGES + 4, Gpu: StrictGpu },
  prepare: (harness) => harness.map(MANY_PAGE, NOT_THERE - MANY_PAGE),
  preemptions: 0,
  check: requireCoherent,
};

/** More pages are wanted at once than have names. */
const wanted: Case = {
  tasks: {
    chunk: alone(function* (opened, world) {
      const { record } = opened.own;
      yield* runDone(world, opened, storeTo(WRITTEN, SUM));
      for (let i = 0; i < WANTED_MAX + 2; i++) yield* want(record, 0);
      assert(record.chunkCount === 1, `the memory has ${record.chunkCount} parts`);
    }),
    server,
  },
  variant: { privateFrames: 1 },
  preemptions: 0,
  check: (world, harness) => requireWord(world, harness, WRITTEN_PAGE, SUM),
};

type Twin = Omit<Parts, "tasks" | "check" | "variant"> & { readonly variant: Partial<Variant> };

function covered(
  name: string,
  summary: string,
  parts: Case,
  runs: readonly string[],
  ...twins: readonly Twin[]
): Covered {
  const scenario = make({ name: `webgpu-${name}`, summary, ...parts });
  return {
    layer: "devices",
    scenario,
    twins: twins.map((one) =>
      make({
        expects: "assertion",
        ...parts,
        ...one,
        name: `webgpu-${name}/${one.name}`,
        variant: { ...parts.variant, ...one.variant },
      }),
    ),
    runs:
      "server" in parts.tasks
        ? { chunk: runs, server: ["devices/webgpu/private-pages.serve"] }
        : { chunk: runs },
  };
}

export const webGpuAlone: readonly Covered[] = [
  covered("prefetches", "A chunk reads two pages in a row.", prefetched, CHUNK),
  covered(
    "shared-memory",
    "A chunk stores to a page of its own and to one of shared memory.",
    shared,
    CHUNK,
  ),
  covered("pure-fault", "A pure program faults after it has stored.", pureFault, CHUNK),
  covered("short-of-frames", "Two pages take turns in one frame of private memory.", short, CHUNK),
  covered(
    "pinned-in-private",
    "A chunk needs another page when the private memory is full.",
    pinned,
    CHUNK,
  ),
  covered(
    "read-back-for-backup",
    "A chunk stores to two pages that only the GPU has, and misses; there is one backup.",
    readBack,
    CHUNK,
  ),
  covered("one-backup", "Two pages that only the GPU has, and one backup.", backups, CHUNK),
  covered(
    "lost-at-end",
    "The memory of a lost GPU ends: some of its pages are lost.",
    lostAtEnd,
    CHUNK,
  ),
  covered("brings-many", "Many pages are brought, of which one is not mapped.", many, [
    "devices/webgpu/bring.bring",
    "devices/webgpu/bring.#copyIfValid",
  ]),
  covered(
    "wants-many",
    "More pages are wanted home at once than the list has names for.",
    wanted,
    CHUNK,
  ),
  covered(
    "lost-in-back-up",
    "The GPU is lost while pages make room for their backups.",
    lostInBackUp,
    CHUNK,
  ),
];
