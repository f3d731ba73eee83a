/**
 * @module Sections of stores (mmu/store-mark.ts) while other threads change the mapping: each store
 * goes to its page or nowhere, and who changes the mapping has waited for it. All by the shipped
 * code, each access a step.
 *
 * The twins break the section itself: it has no mark while it stores; it keeps a page in mind when
 * it has given up its mark; it looks at the generation before it marks.
 */

import { Cell } from "../../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { PAGE_BYTES } from "../../../../src/memory/ram.ts";
import type { StoreMark } from "../../../../src/mmu/store-mark.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { trackRange } from "../../../../src/mm/fault/track.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { ptePfn } from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import { SegmentationFault, assert, bug } from "../../../../src/sync/errors.ts";
import { leaveSection } from "../../../../src/sync/primitives/shootdown.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import { set } from "../../../../src/sync/runners/stepping/accesses.ts";
import { callInSteps, runInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import type { HarnessTasks, HarnessTwin } from "../on-harness.ts";
import { withoutFlush } from "../mm/left-out.ts";

const PAGE = HARNESS_PAGE;
const A: number = PAGE * PAGE_BYTES;
/** The next page, untouched at the beginning. */
const B: number = A + PAGE_BYTES;
const BEFORE = 7;

interface World {
  readonly flag: Cell;
  /** What the page held when the change was over. */
  readonly seen: number[];
  child: number;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;
type Use = (cpu: HarnessCpu, world: World) => Task<void>;
/** Breaks the mark of a section. */
type Spoil = (mark: StoreMark, memory: SharedMemory) => void;

/** Puts `task` in the place of a method, for the plain code and for the stepping one. */
function replace(mark: StoreMark, name: "enter" | "letGo", task: () => Task<unknown>): void {
  Object.assign(mark, { [`${name}$steps`]: task });
}

const sound: Spoil = () => {};

/** The mark is gone as soon as it is there. */
const unmarked: Spoil = (mark, memory) => {
  const isHeld = (): boolean => mark.unheld === 0;
  // Made by the derivation.
  const enter = Reflect.get(mark, "enter$steps") as () => Task<boolean>;
  replace(mark, "enter", function* () {
    if (isHeld()) return false;
    const isNew = yield* enter.call(mark);
    yield* runInSteps(leaveSection, memory);
    return isNew;
  });
};

/** SM4 the wrong way: the mark is given up, and the pages are still known. */
const remembering: Spoil = (mark, memory) => {
  replace(mark, "letGo", function* () {
    if (mark.unheld !== 0) return;
    mark.unheld = 1;
    yield* runInSteps(leaveSection, memory);
  });
};

/** Runs `use` as a section. A store that no mapping allows ends it. */
function inSection(use: Use, spoil: Spoil = sound, ofChild: boolean = false): Body {
  return function* (world, harness) {
    const { memory } = harness.machine;
    const cpu = new HarnessCpu(harness, ofChild ? Mm.at(memory, world.child) : harness.mm);
    spoil(cpu.memory.mark, memory);
    try {
      yield* cpu.section(use(cpu, world));
    } catch (error) {
      if (!(error instanceof SegmentationFault)) throw error;
    }
  };
}

/** The second store knows the page. */
function* storeTwice(cpu: HarnessCpu): Task<void> {
  yield* cpu.store(A, 1);
  yield* cpu.store(A, 2);
}

/** The store to the other page faults, so the mark is given up in between. */
function* storeAroundFault(cpu: HarnessCpu): Task<void> {
  yield* cpu.store(A, 1);
  yield* cpu.store(B, 1);
  yield* cpu.store(A, 2);
}

/** A section that has stored and goes on with loads: they are what lets go when somebody asks. */
function* storeAndLoad(cpu: HarnessCpu): Task<void> {
  yield* cpu.store(A, 1);
  yield* cpu.load(A);
  yield* cpu.store(A, 2);
}

/** As `enter` would be with SM1 the wrong way: the mark comes after the last look. */
const checkedBeforeMark: Body = function* (_world, harness) {
  const cpu = new HarnessCpu(harness);
  const { tlb, mark } = cpu.memory;
  yield* callInSteps(tlb, "find", PAGE, true, A);
  const { section, frame } = tlb;
  if (section === undefined) bug("find found nothing");
  mark.openSection();
  yield* callInSteps(mark, "enter");
  yield* set("data", section.i32, frame * (PAGE_BYTES / 4), 1);
  yield* callInSteps(mark, "closeSection");
};

const discard: Body = (_world, harness) => harness.discard(PAGE, 1);
const munmap: Body = (_world, { machine, mm }) => doMunmap(machine, mm, A, 2 * PAGE_BYTES);

function* protectAndLook({ seen }: World, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  yield* doMprotect(machine, mm, A, PAGE_BYTES, VM_READ);
  seen.push(yield* new HarnessCpu(harness).load(A));
}

function* forkAndLook(world: World, harness: HmmHarness): Task<void> {
  world.child = yield* doFork(harness.machine, harness.mm);
  world.seen.push(
    yield* new HarnessCpu(harness, Mm.at(harness.machine.memory, world.child)).load(A),
  );
}

function* track(_world: World, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* trackRange(machine, mm, PAGE, PAGE + 1, new Uint8Array(1));
  yield* mm.mmapLock.upRead();
}

function* storeBeside(_world: World, harness: HmmHarness): Task<void> {
  yield* new HarnessCpu(harness).store(A + 4, 5);
}

function* viewAndClose(_world: World, { machine, mm }: HmmHarness): Task<void> {
  const hold = yield* viewOpen(machine, mm, PAGE, PAGE + 2, true);
  if (hold > 0) yield* viewClose(machine, hold);
}

function without(left: number, body: Body): Body {
  return (world, harness) => withoutFlush(left, body(world, harness));
}

/** What the page holds in the end, by any space's page table. */
function contents(harness: HmmHarness, mm: Mm = harness.mm, word: number = 0): number {
  const { ram } = harness.machine;
  const pfn = ptePfn(harness.entryOf(PAGE, mm));
  return pfn === 0 ? 0 : ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn) + word]!;
}

function holds(...allowed: readonly number[]): (world: World, harness: HmmHarness) => void {
  return (_world, harness) =>
    assert(allowed.includes(contents(harness)), `The page holds ${contents(harness)}`);
}

/** The page is at the end what it was when the change was over. */
function requireKept({ seen: [kept = 0], child }: World, harness: HmmHarness): void {
  const mm = child === 0 ? harness.mm : Mm.at(harness.machine.memory, child);
  const now = contents(harness, mm);
  assert(now === kept, `The page held ${kept} when the change was over, and holds ${now}`);
}

const SECTION = [
  "mmu/store-mark.enter",
  "mmu/store-mark.closeSection",
  "sync/primitives/shootdown.enterSection",
  "sync/primitives/shootdown.leaveSection",
] as const;
const FLUSH = ["sync/primitives/shootdown.flush", "sync/primitives/shootdown.askToLetGo"] as const;
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2 };

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly isForked?: boolean;
  readonly exploration?: ScenarioExploration;
  readonly prepare?: (harness: HmmHarness) => void;
  readonly tasks: HarnessTasks<World>;
  readonly check: (world: World, harness: HmmHarness) => void;
  readonly twins: readonly HarnessTwin<World>[];
}

function made({ name, summary, isForked = false, exploration, prepare, ...parts }: Parts): Covered {
  return coveringOnHarness<World>({
    layer: "mmu",
    name,
    summary,
    harness: { pages: 0, arenaWords: 8192 },
    ...(exploration === undefined ? {} : { exploration }),
    setup(harness) {
      harness.map(PAGE, 2);
      harness.run(new HarnessCpu(harness).store(A, BEFORE));
      prepare?.(harness);
      const child = isForked ? harness.run(doFork(harness.machine, harness.mm)) : 0;
      const at = harness.run(harness.machine.heap.allocWords(512));
      return { flag: new Cell(harness.machine.memory, at, "flag"), seen: [], child };
    },
    reopen(world) {
      world.seen.length = 0;
      if (!isForked) world.child = 0;
    },
    ...parts,
  });
}

function unmarkedTwin(expects: HarnessTwin<World>[2], use: Use = storeTwice): HarnessTwin<World> {
  return [
    "unmarked",
    "The section stores while its thread has no mark.",
    expects,
    { section: inSection(use, unmarked) },
  ];
}

/** A section that waits for a signal, which it must not, and one that gives it after `body`. */
function waiting(ofChild: boolean): Body {
  return inSection(
    function* (cpu, { flag }) {
      yield* cpu.store(A, 1);
      yield* flag.waitWhile(0);
    },
    sound,
    ofChild,
  );
}

function* discardAndSay(world: World, harness: HmmHarness): Task<void> {
  yield* discard(world, harness);
  yield* world.flag.store(1);
}

export const storeSections: readonly Covered[] = [
  made({
    name: "section-vs-discard",
    summary:
      "A thread stores twice in a section while its page is discarded: to the page, or to the new one.",
    tasks: { section: [SECTION, inSection(storeTwice)], discard: [FLUSH, discard] },
    check: holds(0, 1, 2),
    twins: [
      unmarkedTwin("use-after-free"),
      [
        "checked-before-mark",
        "The generation is read before the mark is made.",
        "use-after-free",
        { section: checkedBeforeMark },
      ],
      [
        "without-flush",
        "The page is discarded without a flush.",
        "use-after-free",
        { discard: without(1, discard) },
      ],
    ],
  }),
  made({
    name: "section-with-fault-vs-discard",
    summary:
      "A section stores to a page, to one that is not there yet, and to the first one again, while that is discarded.",
    exploration: BOUNDED,
    tasks: {
      section: [[...SECTION, "sync/primitives/shootdown.letGoOfMark"], inSection(storeAroundFault)],
      discard: [["sync/primitives/shootdown.flush"], discard],
    },
    check: holds(0, 2),
    twins: [
      [
        "page-kept-in-mind",
        "The section still knows its page after it has given up the mark.",
        "use-after-free",
        { section: inSection(storeAroundFault, remembering) },
      ],
    ],
  }),
  made({
    name: "section-vs-munmap",
    summary: "A thread stores in a section while its page is unmapped.",
    exploration: BOUNDED,
    tasks: {
      section: [SECTION, inSection(storeAndLoad)],
      munmap: [[...FLUSH, "mm/calls/munmap.doMunmap"], munmap],
    },
    check: () => {},
    twins: [unmarkedTwin("use-after-free")],
  }),
  made({
    name: "section-vs-mprotect",
    summary:
      "A thread stores in a section while the page is write-protected: the page does not change after that.",
    exploration: BOUNDED,
    tasks: {
      section: [SECTION, inSection(storeTwice)],
      mprotect: [[...FLUSH, "mm/calls/mprotect.doMprotect"], protectAndLook],
    },
    check: requireKept,
    twins: [unmarkedTwin("assertion")],
  }),
  made({
    name: "section-vs-fork",
    summary:
      "A thread of the parent stores in a section during a fork: the child keeps what it had when fork returned.",
    exploration: BOUNDED,
    tasks: {
      section: [SECTION, inSection(storeTwice)],
      fork: [[...FLUSH, "mm/lifetime/fork.doFork"], forkAndLook],
    },
    check: requireKept,
    twins: [unmarkedTwin("assertion")],
  }),
  made({
    name: "section-vs-copy-of-tracked",
    summary:
      "A thread stores in a section while the page is tracked, and a store of another thread copies it, because its frame is held: no store is lost.",
    exploration: { engine: "bounded", preemptions: 1 },
    prepare: (harness) =>
      harness.run(harness.machine.ram.refs.pageGet(ptePfn(harness.entryOf(PAGE)))),
    tasks: {
      section: [SECTION, inSection(storeTwice)],
      track: [["mm/fault/track.trackRange"], track],
      other: [["memory/ram.copyFrame"], storeBeside],
    },
    check: (_world, harness) => {
      const words = [contents(harness), contents(harness, harness.mm, 1)];
      assert(words[0] === 2 && words[1] === 5, `The words hold ${words.join(" and ")}`);
    },
    twins: [unmarkedTwin("assertion")],
  }),
  made({
    name: "section-vs-view",

    summary:
      "A thread stores in a section while a view migrates the pages into a run: the store is in the page's new frame.",
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: {
      section: [SECTION, inSection(storeTwice)],
      view: [["mm/view/view-open.viewOpen"], viewAndClose],
    },
    check: holds(2),
    twins: [unmarkedTwin("assertion")],
  }),
  made({
    name: "section-vs-death",
    summary:
      "A thread dies in a section, at any point: who discards its page does not wait for it.",
    exploration: { deaths: 1, engine: "bounded", preemptions: 2 },
    tasks: { section: [SECTION, inSection(storeTwice)], discard: [FLUSH, discard] },
    check: holds(0, 1, 2),
    twins: [],
  }),
  made({
    name: "section-of-another-space",
    summary:
      "A thread is in a section of a child of this space, and waits there for a thread that discards a page of this space: nobody waits for sections of other spaces.",
    isForked: true,
    exploration: BOUNDED,
    tasks: {
      section: [SECTION, waiting(true)],
      discard: [["sync/primitives/shootdown.flush"], discardAndSay],
    },
    check: () => {},
    twins: [
      [
        "of-the-same",
        "It is a section of this space: each of the two waits for the other.",
        "deadlock",
        { section: waiting(false) },
      ],
    ],
  }),
];
