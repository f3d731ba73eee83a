/**
 * @module A thread that dies between the first entry that it changes and the flush behind it: who
 * finds it dead flushes the pages, puts the frames, and gives up its share of the mmap lock
 * (mm/entries/invalidation.ts, sync/words/operations.ts). In the twins it notes too late what it
 * does, or the pages not at all, or puts a frame without clearing its note.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { handOf, putHand } from "../../../../src/mm/entries/hand.ts";
import {
  beginHand,
  beginInvalidation,
  endInvalidation,
} from "../../../../src/mm/entries/invalidation.ts";
import { PAGE_BYTES, holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { exchangeNoted } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ONE_DIES } from "../on-harness.ts";

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const STORED = 7;

function* discard(harness: HmmHarness): Task<void> {
  yield* harness.discard(HARNESS_PAGE, 1);
}

/** Clears the entry and notes its frame. Returns the entry. */
function* clear({ machine, mm }: HmmHarness, note: number): Task<number> {
  const { memory } = machine;
  const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(memory, "update", index, 1, "pte");
  return exchangeNoted(memory.words, index, 0, memory.words, note, 0, 0);
}

/** The note of a thread that has none. */
function* scratch({ machine }: HmmHarness): Task<number> {
  return yield* machine.heap.allocWords(512);
}

interface Homemade {
  readonly name: string;
  readonly summary: string;
  readonly task: (harness: HmmHarness) => Task<void>;
  readonly expects: "use-after-free" | "assertion";
}

/** Discards under the lock, in its own way. */
function* underLock(harness: HmmHarness, body: () => Task<void>): Task<void> {
  yield* harness.mm.mmapLock.downRead();
  yield* body();
  yield* harness.mm.mmapLock.upRead();
}

const homemade: readonly Homemade[] = [
  {
    name: "unnoted-pages",
    summary: "The operation has no pages: who finishes it puts the frame, and flushes nothing.",
    expects: "use-after-free",
    task: (harness) =>
      underLock(harness, function* () {
        const { machine, mm } = harness;
        const operation = yield* beginHand(mm);
        yield* clear(harness, handOf(operation));
        yield* mm.shootdown.flush(HARNESS_PAGE, HARNESS_PAGE + 1);
        yield* putHand(machine, operation);
        endInvalidation(mm, operation);
      }),
  },
  {
    name: "noted-late",
    summary: "The frame is noted after a step in which its entry is cleared already.",
    expects: "assertion",
    task: (harness) =>
      underLock(harness, function* () {
        const { machine, mm } = harness;
        const { words } = machine.memory;
        const note = yield* scratch(harness);
        const pte = yield* clear(harness, note);
        yield* mm.shootdown.flush(HARNESS_PAGE, HARNESS_PAGE + 1);
        const operation = yield* beginInvalidation(mm, HARNESS_PAGE, HARNESS_PAGE + 1);
        words[handOf(operation)] = pte;
        yield* putHand(machine, operation);
        endInvalidation(mm, operation);
        yield* machine.heap.freeWords(note, 512);
      }),
  },
  {
    name: "put-twice",
    summary: "The thread puts the frame and leaves its note: who finishes that puts it again.",
    expects: "assertion",
    task: (harness) =>
      underLock(harness, function* () {
        const { machine, mm } = harness;
        const operation = yield* beginInvalidation(mm, HARNESS_PAGE, HARNESS_PAGE + 1);
        const pte = yield* clear(harness, handOf(operation));
        yield* mm.shootdown.flush(HARNESS_PAGE, HARNESS_PAGE + 1);
        if (pte !== 0) yield* machine.ram.refs.pagePut(ptePfn(pte));
        yield* access(machine.memory, "read", operation, 1, "operation");
        machine.memory.words[handOf(operation)] = 0;
        endInvalidation(mm, operation);
      }),
  },
];

function* storeTwice(harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  yield* cpu.store(ADDRESS, 1);
  yield* cpu.store(ADDRESS, STORED);
  const found = yield* cpu.load(ADDRESS);
  assert(found === STORED || found === 0, `${found} is found where ${STORED} was stored`);
}

function make(
  name: string,
  summary: string,
  task: (harness: HmmHarness) => Task<void>,
  expects?: Homemade["expects"],
): AnyScenario {
  return harnessScenario<undefined>({
    name,
    summary,
    ...ONE_DIES,
    ...(expects === undefined ? {} : { expects }),
    harness: { pages: 1 },
    setup: () => undefined,
    tasks: {
      dies: (_world, harness) => task(harness),
      store: (_world, harness) => storeTwice(harness),
    },
    check(_world, harness) {
      const { machine, mm } = harness;
      assert(mm.memory.words[mm.mmapLock.at] === 0, "somebody still holds the lock");
      const { usedPages } = machine.ram.usage();
      const mapped = holdsFrame(harness.entryOf(HARNESS_PAGE)) ? 1 : 0;
      assert(usedPages === mapped, `${usedPages} frames are in use, and ${mapped} are mapped`);
    },
  });
}

const NAME = "coverage/mm/death/discard-vs-store";

export const deathsInInvalidations: readonly Covered[] = [
  {
    layer: "mm",
    scenario: make(
      NAME,
      "A thread dies at any step of a discard, while another stores to the page and loads it.",
      discard,
    ),
    twins: homemade.map(({ name, summary, task, expects }) =>
      make(`${NAME}/${name}`, summary, task, expects),
    ),
    runs: {
      dies: ["mm/calls/madvise.doMadvise", "sync/death/recovery.recover"],
      store: ["mmu/widths/u32-access.store"],
    },
  },
];
