/**
 * @module What each step of a zap, a fault, a fork and a CPU access is for: the shipped code stands, and the same code with one step left out does not.
 *
 * Of an access the shipped part is the translation (cpuTranslate) and the words of the shootdown; the order of its own reads, which are plain code in
 * memory/*-access.ts, is written here as there (X3 and X5 of memory/translation.ts), each a step of its own. The data is read as "is the frame still in use": a value
 * out of a frame that is not is somebody else's.
 */

import { Cell } from "../../../src/checker/pieces/program.ts";
import { RIG_PAGE, rigScenario } from "../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../src/checker/rig/hmm-rig.ts";
import { cpuFault, cpuTranslate } from "../../../src/mm/cpu-fault.ts";
import { doFork } from "../../../src/mm/fork.ts";
import { Mm } from "../../../src/mm/mm-struct.ts";
import { leafAlloc, leafOf, pteIndex, wordAt } from "../../../src/mm/page-table.ts";
import { PAGE_BYTES, PTE_ACCESSED, PTE_DIRTY, PTE_WRITE, ZERO_PFN, makePte, ptePfn } from "../../../src/mm/pte.ts";
import { atomicExchange, atomicStore } from "../../../src/sync/atomics.ts";
import { assert } from "../../../src/sync/errors.ts";
import { access } from "../../../src/sync/task.ts";
import type { Task } from "../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";

type Body = (shared: Cell, rig: HmmRig) => Task<unknown>;
type Twin = readonly [name: string, summary: string, tasks: Readonly<Record<string, Body>>];

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly present: number;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
  readonly check?: (shared: Cell, rig: HmmRig) => void;
  readonly twins: readonly Twin[];
}

function protocol({ name, summary, present, tasks, check, twins }: Parts): Covered {
  const entries = Object.entries(tasks);
  const bodies = Object.fromEntries(entries.map(([task, [, body]]) => [task, body]));
  const parts = {
    rig: { pages: 1, present, arenaWords: 8192 },
    setup: (rig: HmmRig) => new Cell(rig.machine.memory, rig.run(rig.machine.heap.allocWords(512)), "shared"),
    ...(check === undefined ? {} : { check }),
  };
  const fullName = `coverage/mm/${name}`;
  return {
    layer: "mm",
    scenario: rigScenario<Cell>({ ...parts, name: fullName, summary, tasks: bodies }),
    twins: twins.map(([twin, about, own]) =>
      rigScenario<Cell>({
        ...parts,
        name: `${fullName}/${twin}`,
        summary: about,
        expects: "assertion",
        tasks: { ...bodies, ...own },
      }),
    ),
    runs: Object.fromEntries(entries.map(([task, [runs]]) => [task, runs])),
  };
}

const ADDRESS: number = RIG_PAGE * PAGE_BYTES;

function generationOf({ machine, mm }: HmmRig): Cell {
  return new Cell(machine.memory, mm.shootdown.generationWord(RIG_PAGE), "generation");
}

function* isInUse({ machine }: HmmRig, pfn: number): Task<boolean> {
  return pfn === ZERO_PFN || !(yield* machine.ram.pageHas(pfn, 0));
}

/** X3. `isDataFirst`: the data is read before the generation, as it must be. */
function* load(rig: HmmRig, isDataFirst: boolean): Task<void> {
  const { machine, mm } = rig;
  const generation = generationOf(rig);
  const seen = yield* generation.load();
  const pfn = (yield* cpuTranslate(machine, mm, RIG_PAGE, false, ADDRESS)) >>> 1;
  let isGood = false;
  let isOwn = false;
  if (isDataFirst) {
    isOwn = yield* isInUse(rig, pfn);
    isGood = (yield* generation.load()) === seen;
  } else {
    isGood = (yield* generation.load()) === seen;
    isOwn = yield* isInUse(rig, pfn);
  }
  assert(!isGood || isOwn, "a load believed what it read out of a frame that was somebody else's");
}

/** X5. */
function* store(rig: HmmRig, isMarked: boolean): Task<void> {
  const { machine, mm } = rig;
  const generation = generationOf(rig);
  const seen = yield* generation.load();
  const pfn = (yield* cpuTranslate(machine, mm, RIG_PAGE, true, ADDRESS)) >>> 1;
  if (isMarked) yield* mm.shootdown.enterStore();
  if ((yield* generation.load()) === seen) {
    assert(yield* isInUse(rig, pfn), "a store went to a frame that was somebody else's");
  }
  if (isMarked) yield* mm.shootdown.leaveStore();
}

/** What zap.ts does with one page, but for the flush. */
function* zapWithoutFlush(_shared: Cell, { machine, mm }: HmmRig): Task<void> {
  const { memory, ram } = machine;
  yield* mm.mmapLock.downWrite();
  const index = pteIndex(leafOf(memory, mm.pgd, RIG_PAGE), RIG_PAGE);
  yield* access(memory, "update", index, 1, "pte");
  yield* ram.pagePut(ptePfn(atomicExchange(memory.words, index, 0)));
  yield* mm.mmapLock.upWrite();
}

/** A fault that installs a frame without looking whether the entry is still what it judged. */
function* faultWithoutLooking(_shared: Cell, { machine, mm }: HmmRig): Task<void> {
  const { memory, ram } = machine;
  yield* mm.mmapLock.downRead();
  const index = pteIndex(yield* leafAlloc(machine, mm, RIG_PAGE), RIG_PAGE);
  yield* access(memory, "read", index, 1, "pte");
  if (wordAt(memory.words, index) === 0) {
    const pfn = yield* ram.allocFrame(true);
    yield* access(memory, "update", index, 1, "pte");
    atomicStore(memory.words, index, makePte(pfn, PTE_ACCESSED | PTE_WRITE | PTE_DIRTY));
  }
  yield* mm.mmapLock.upRead();
}

function* fork(child: Cell, { machine, mm }: HmmRig): Task<void> {
  child.init(yield* doFork(machine, mm));
}

/** The child's entry gets back the right to write that fork took away from both. */
function* forkWithoutProtecting(child: Cell, rig: HmmRig): Task<void> {
  const { memory } = rig.machine;
  yield* fork(child, rig);
  const { pgd } = Mm.at(memory, child.peek());
  for (const table of [pgd, rig.mm.pgd]) {
    const index = pteIndex(leafOf(memory, table, RIG_PAGE), RIG_PAGE);
    yield* access(memory, "update", index, 1, "pte");
    atomicStore(memory.words, index, wordAt(memory.words, index) | PTE_WRITE);
  }
}

const TRANSLATE = ["mm/cpu-fault.cpuTranslate", "sync/shootdown.generationWord"] as const;
const STORE = [...TRANSLATE, "sync/shootdown.enterStore", "sync/shootdown.leaveStore"] as const;
const DISCARD = ["mm/madvise.doMadvise", "mm/zap.zapRange", "sync/shootdown.flush"] as const;
const FAULT = ["mm/cpu-fault.cpuFault", "mm/fault.handleMmFault"] as const;

const discard: Body = (_shared, rig) => rig.discard(RIG_PAGE, 1);
const write: Body = (_shared, { machine, mm }) => cpuFault(machine, mm, RIG_PAGE, true);

export const protocols: readonly Covered[] = [
  protocol({
    name: "load-vs-zap",
    summary:
      "A CPU load through a translation while its page is discarded: what it believes, it read out of the page's own frame.",
    present: 1,
    tasks: { load: [TRANSLATE, (_shared, rig) => load(rig, true)], discard: [DISCARD, discard] },
    twins: [
      [
        "generation-first",
        "The load looks at the generation before it reads the data.",
        { load: (_shared, rig) => load(rig, false) },
      ],
      ["without-flush", "The zap gives the frame back without a flush.", { discard: zapWithoutFlush }],
    ],
  }),
  protocol({
    name: "store-vs-zap",
    summary:
      "A CPU store through a translation while its page is discarded: it goes to the page's own frame, or nowhere.",
    present: 1,
    tasks: { store: [STORE, (_shared, rig) => store(rig, true)], discard: [DISCARD, discard] },
    twins: [
      ["unmarked", "The store does not mark itself as inside.", { store: (_shared, rig) => store(rig, false) }],
      ["without-flush", "The zap gives the frame back without a flush.", { discard: zapWithoutFlush }],
    ],
  }),
  protocol({
    name: "fault-vs-fault",
    summary: "Two threads take the first fault of a page: it gets one frame, and the other one is given back.",
    present: 0,
    tasks: { write: [FAULT, write], other: [FAULT, write] },
    check: (_shared, { machine, mm }) => {
      const rest = machine.ram.usage().usedPages;
      const own = wordAt(machine.memory.words, pteIndex(leafOf(machine.memory, mm.pgd, RIG_PAGE), RIG_PAGE));
      assert(own !== 0 && rest === 1, `${rest} frames are in use for one page`);
    },
    twins: [
      [
        "without-recheck",
        "A fault puts its frame in without looking whether the entry is still empty.",
        { write: faultWithoutLooking },
      ],
    ],
  }),
  protocol({
    name: "fork-vs-write",
    summary: "A fork while another thread writes: afterwards no frame can be written by both spaces.",
    present: 1,
    tasks: { fork: [["mm/fork.doFork"], fork], write: [FAULT, write] },
    check: (child, rig) => {
      const [own, copied] = [rig.entryOf(RIG_PAGE), rig.entryOf(RIG_PAGE, Mm.at(rig.machine.memory, child.peek()))];
      const isBoth = (own & copied & PTE_WRITE) !== 0 && ptePfn(own) === ptePfn(copied);
      assert(!isBoth, "parent and child may write the same frame");
    },
    twins: [["without-protecting", "Fork leaves both entries writable.", { fork: forkWithoutProtecting }]],
  }),
];
