/**
 * @module The stage of the scenarios of huge pages (huge-pages.ts): a block of 2 MiB in some state,
 * what threads do with it, rightly and wrongly, and what must hold afterwards.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import { harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario, ScenarioExploration } from "../../../../src/checker/scenario.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { hmmRangeValid, hmmRangeWaitUntilValid } from "../../../../src/hmm/range/valid.ts";
import { hmmRangeFault } from "../../../../src/hmm/walk/fault.ts";
import { makeDeviceMemory } from "../../../../src/memory/device-memory.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import {
  DEVICE_PRIVATE,
  type DeviceMemory,
  takeDeviceFrame,
  takeDeviceRun,
} from "../../../../src/memory/frames/device-frames.ts";
import { dataStep } from "../../../../src/memory/frames/page-data.ts";
import { joinDeviceSpaces } from "../../../../src/mm/device-spaces.ts";
import { registerDeviceMemoryOps } from "../../../../src/mm/fault/device-private.ts";
import {
  type MigrateArguments,
  type Migration,
  SELECT_SYSTEM,
  migrateFaultToRam,
  migrateRange,
  migrateVmaSetup,
  pageCopiers,
} from "../../../../src/mm/migrate/migrate-vma.ts";
import { MADV_DONTNEED, MADV_HUGEPAGE, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { collapseRange } from "../../../../src/mm/calls/collapse.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { HUGE_PAGES, hugeLeafAt, hugePte, isHugeAt, rewriteHuge } from "../../../../src/mm/huge.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import {
  PAGE_BYTES,
  WRITTEN_RIGHTS,
  holdsFrame,
  isResident,
  makePte,
  ptePfn,
  withWrite,
} from "../../../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ, VM_WRITE, vmaOf } from "../../../../src/mm/vma/vma.ts";
import { MID_HUGE, leafOf, midSlotOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicExchange, atomicOr, atomicStore } from "../../../../src/sync/atomics.ts";
import { SegmentationFault, assert, bug } from "../../../../src/sync/errors.ts";
import { DONE, type Task, access, doneBoolean } from "../../../../src/sync/tasks/task.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";
import type { HarnessBody, HarnessTasks, HarnessTwin } from "../on-harness.ts";

/** First page of the block of the scenarios. */
export const START: number = HUGE_PAGES;
/** Where mremap moves the block. */
export const MOVED: number = START + HUGE_PAGES;
export const BEFORE = 7;
export const AFTER = 8;

export interface HugeWorld {
  child: number;
  /** What the child saw when it was made. */
  seenByChild: number;
  /** The space is gone. */
  hasEnded: boolean;
  /** What a call answered; -1: none has. */
  answer: number;
  /** References of frames, apart from the block's. */
  readonly referencesBefore: number;
  /** A device that mirrors the space. */
  readonly device: HarnessDevice;
  /** Memory for one huge page, of a device that moves pages. */
  readonly memory: DeviceMemory;
}

type Body = HarnessBody<HugeWorld>;

const addressOf = (page: number): number => (START + page) * PAGE_BYTES;

/** How the block is at the beginning. */
export type State =
  | "untouched"
  | "zeros"
  | "written"
  | "forked"
  | "moved"
  | "explicit"
  | "explicit-forked";

/** Number of the device that moves pages. */
export const OWNER = 5;
const OPS: number = registerDeviceMemoryOps("scenario huge memory", {
  migrateToRam: migrateFaultToRam,
});

/** Maps the block as MAP_HUGETLB does: its frames are there at once. */
function mapExplicit(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const place = { address: addressOf(0), placement: MAP_FIXED_NOREPLACE };
  const kind = { protection: VM_READ | VM_WRITE, shared: false, huge: true } as const;
  const size = { lengthBytes: HUGE_PAGES * PAGE_BYTES, bufferPfn: 0, offsetPages: 0 };
  const answer = harness.run(doMmap(machine, mm, { ...place, ...kind, ...size }));
  if (answer !== addressOf(0)) bug(`the mapping answered ${answer}`);
}

/** Makes the block, and the child that shares it, if any; or 0. */
export function makeBlock(harness: HmmHarness, state: State): number {
  const { machine, mm } = harness;
  const isExplicit = state === "explicit" || state === "explicit-forked";
  if (isExplicit) mapExplicit(harness);
  else {
    harness.map(START, HUGE_PAGES);
    const bytes = HUGE_PAGES * PAGE_BYTES;
    harness.run(doMadvise(machine, mm, addressOf(0), bytes, MADV_HUGEPAGE));
  }
  const cpu = new HarnessCpu(harness);
  if (state === "zeros") harness.run(cpu.load(addressOf(0)));
  if (state !== "untouched" && state !== "zeros") harness.run(cpu.store(addressOf(5), BEFORE));
  return state.endsWith("forked") ? harness.run(doFork(machine, mm)) : 0;
}

export function setUp(harness: HmmHarness, state: State): HugeWorld {
  const { machine, mm } = harness;
  const referencesBefore = machine.ram.refs.total().references;
  const child = makeBlock(harness, state);
  const device = HarnessDevice.registered(harness);
  const options = { pages: HUGE_PAGES, type: DEVICE_PRIVATE, owner: OWNER, opsId: OPS } as const;
  const memory = harness.run(makeDeviceMemory(machine, options));
  if (typeof memory === "number") bug(`Cannot make the device's memory: ${memory}`);
  harness.run(joinDeviceSpaces(machine, mm));
  const before = { child, seenByChild: -1, hasEnded: false, answer: -1, referencesBefore };
  const world = { ...before, device, memory };
  if (state === "moved") harness.run(moveToDevice(world, harness));
  return world;
}

/** U1 and U4 of mm/huge.ts, and that each frame is counted as often as it is named. */
export function requireWhole(
  world: Pick<HugeWorld, "child" | "referencesBefore">,
  harness: HmmHarness,
  heldByDead: number = 0,
): void {
  const { machine, mm } = harness;
  const { memory, ram } = machine;
  let named = 0;
  for (const space of world.child > 0 ? [mm, Mm.at(memory, world.child)] : [mm])
    for (const start of [START, MOVED]) named += namedFrames(memory, space, start);
  const counted = ram.refs.total().references - world.referencesBefore;
  const isRight = counted >= named && counted <= named + heldByDead;
  assert(isRight, `${named} entries name frames, which have ${counted} references`);
}

/** How many entries of a block name frames, after a look at each of them. */
function namedFrames(memory: SharedMemory, space: Mm, start: number): number {
  const leaf = leafOf(memory, space.pgd, start);
  if (leaf === 0) return 0;
  let named = 0;
  const head = memory.words[leaf]!;
  for (let i = 0; i < HUGE_PAGES; i++) {
    const pte = memory.words[leaf + i]!;
    if (isResident(pte)) named++;
    const isAlike = !isHugeAt(memory, space, start) || pte === hugePte(head, i);
    assert(isAlike, `entry ${i} of a huge page is ${pte}, and entry 0 is ${head}`);
  }
  return named;
}

/** The first word of a page, as the space's entry says; no step. */
export function contentsOf(harness: HmmHarness, page: number, space: Mm = harness.mm): number {
  const pfn = ptePfn(harness.entryOf(START + page, space));
  const section = harness.machine.ram.sections.of(pfn);
  return section.i32[section.wordIndex(pfn)]!;
}

interface Stage {
  readonly summary: string;
  readonly state: State;
  /** Each execution has thousands of steps on the same words: a sample of orders is explored. */
  readonly sample?: number;
  /** All orders are, which are few where one lock guards nearly all steps. */
  readonly isComplete?: boolean;
  readonly check?: (world: HugeWorld, harness: HmmHarness) => void;
  /** What the set-up does at last. */
  readonly prepare?: Body;
}

interface Parts extends Stage {
  readonly name: string;
  /** The task that may die. What it had in hand may be lost. */
  readonly killable?: string;
  /** References of frames that it may have then. Default 0. */
  readonly heldByDead?: number;
  readonly tasks: HarnessTasks<HugeWorld>;
  readonly twins: readonly HarnessTwin<HugeWorld>[];
}

interface Alone extends Stage {
  /** In full. */
  readonly name: string;
  readonly expects?: FindingKind;
  readonly tasks: Readonly<Record<string, Body>>;
}

const MAX_STEPS = 40_000;

function explorationOf(sample: number, killable: string | undefined): ScenarioExploration {
  const maxSteps = MAX_STEPS;
  if (sample > 0) return { engine: "random", executions: sample, maxSteps };
  if (killable === undefined) return { engine: "bounded", preemptions: 1, maxSteps };
  return { engine: "bounded", preemptions: 0, deaths: 1, maxSteps };
}

/** A scenario with one huge page, but for its name and tasks. */
function staged({
  summary,
  state,
  sample = 0,
  isComplete = false,
  killable,
  heldByDead = 0,
  check,
  prepare,
}: Stage & Pick<Parts, "killable" | "heldByDead">): Omit<
  HarnessScenario<HugeWorld>,
  "name" | "tasks"
> & { readonly summary: string } {
  return {
    summary,
    harness: { pages: 0, hugePages: 3, arenaWords: 16_384 },
    ...(killable === undefined ? {} : { killable: [killable], mayRemain: "anything" }),
    exploration: isComplete ? { maxSteps: MAX_STEPS } : explorationOf(sample, killable),
    setup(harness) {
      const world = setUp(harness, state);
      if (prepare !== undefined) harness.run(prepare(world, harness));
      return world;
    },
    reopen(world) {
      if (!state.endsWith("forked")) world.child = 0;
      world.seenByChild = -1;
      world.answer = -1;
      world.hasEnded = false;
    },
    check(world, harness) {
      if (!world.hasEnded) requireWhole(world, harness, heldByDead);
      check?.(world, harness);
    },
  };
}

/** `coverage/mm/huge/<name>`. */
export function huge({ name, tasks, twins, ...stage }: Parts): Covered {
  const parts = { ...staged(stage), layer: "mm", name: `huge/${name}`, tasks, twins } as const;
  return coveringOnHarness<HugeWorld>(parts);
}

/** One of another group. */
export function hugeScenario({ name, expects, tasks, ...stage }: Alone): AnyScenario {
  return harnessScenario<HugeWorld>({
    ...staged(stage),
    ...(expects === undefined ? {} : { expects }),
    name,
    tasks,
  });
}

export const store =
  (page: number): Body =>
  (_world, harness) =>
    new HarnessCpu(harness).store(addressOf(page), AFTER);

export function* storeIfMapped(harness: HmmHarness, page: number): Task<void> {
  try {
    yield* new HarnessCpu(harness).store(addressOf(page), AFTER);
  } catch (error) {
    if (!(error instanceof SegmentationFault)) throw error;
  }
}

export const discard =
  (page: number, pages: number): Body =>
  (_world, { machine, mm }) =>
    doMadvise(machine, mm, addressOf(page), pages * PAGE_BYTES, MADV_DONTNEED);

export const unmapHalf: Body = (_world, { machine, mm }) =>
  doMunmap(machine, mm, addressOf(HUGE_PAGES / 2), (HUGE_PAGES / 2) * PAGE_BYTES);

export const protectPage: Body = (_world, { machine, mm }) =>
  doMprotect(machine, mm, addressOf(5), PAGE_BYTES, VM_READ);

export function* fork(world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const child = yield* doFork(machine, mm);
  if (child < 0) bug(`the fork answered ${child}`);
  world.child = child;
}

export const touch =
  (page: number, isWrite: boolean): Body =>
  (_world, { machine, mm }) =>
    cpuFault(machine, mm, START + page, isWrite);

/** Of the whole block, to a device. Holding the mmap lock. */
function argsOfBlock(machine: Machine, mm: Mm): MigrateArguments {
  const vma = vmaOf(machine.memory, mm, START) ?? bug("nothing is mapped");
  const range = { startPage: START, endPage: START + HUGE_PAGES };
  return { machine, mm, vma, ...range, select: SELECT_SYSTEM, owner: OWNER };
}

/** All pages of the block become a migration's. Holding the mmap lock. */
export function* isolateBlock(machine: Machine, mm: Mm): Task<Migration> {
  const migration = yield* migrateVmaSetup(argsOfBlock(machine, mm));
  if (typeof migration === "number") bug(`the setup answered ${migration}`);
  return migration;
}

/** The whole block goes to the device's memory. */
export function* moveToDevice({ memory }: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* migrateRange(argsOfBlock(machine, mm), {
    alloc: () => takeDeviceFrame(memory),
    allocHuge: (_page, frames) => takeDeviceRun(memory, frames),
    ...pageCopiers(machine),
  });
  yield* mm.mmapLock.upRead();
}

/** A device's fault on the first pages: what is valid at the end is so (R4). */
export function* faultOfDevice({ device }: HugeWorld, harness: HmmHarness): Task<void> {
  const { mmapLock } = harness.mm;
  yield* harness.withRange(device.mirror, START, 4, function* (range) {
    for (let tries = 0; tries < 2; tries++) {
      if (!(yield* hmmRangeWaitUntilValid(range, Infinity))) continue;
      yield* mmapLock.downRead();
      const answer = yield* hmmRangeFault(range);
      yield* mmapLock.upRead();
      yield* device.driverLock.lock();
      if (answer >= 0 && (yield* hmmRangeValid(range))) yield* use(harness, range, answer);
      yield* device.driverLock.unlock();
    }
    return 0;
  });
}

/** Uses what the range says, holding the driver lock. */
function* use(harness: HmmHarness, { pfns }: HmmRange, pages: number): Task<void> {
  const { memory } = harness.machine;
  const leaf = leafOf(memory, harness.mm.pgd, START);
  for (let i = 0; i < pages; i++) {
    yield* access(memory, "read", leaf + i, 1, "pte");
    harness.requireCurrent(START + i, pfns[i]!);
  }
}

/** Makes a huge page of the block, and notes the answer. */
export function* collapse(world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const range = { startPage: START, endPage: START + HUGE_PAGES };
  world.answer = yield* collapseRange(machine, mm, range);
}

/** The block is one huge page now, if the call says so. */
export function requireCollapsed({ answer }: HugeWorld, { machine, mm }: HmmHarness): void {
  const isHuge = isHugeAt(machine.memory, mm, START);
  assert((answer === 0) === isHuge, `the collapse answered ${answer}, and it is ${isHuge}`);
}

/* What is broken. */

/** Breaks U1 of mm/huge.ts: sets the bit without a look at the entries. */
export function* collapseBlindly(world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const { memory } = machine;
  yield* mm.mmapLock.downWrite();
  atomicOr(memory.words, midSlotOf(memory, mm.pgd, START), MID_HUGE);
  yield* mm.mmapLock.upWrite();
  world.answer = 0;
}

/** Breaks P2 of mm/pte.ts: other frames, and no notifier is called. */
export function* replaceUnnotified(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  yield* mm.mmapLock.downRead();
  const pfn = yield* machine.ram.allocRun(HUGE_PAGES, true);
  const leaf = hugeLeafAt(machine.memory, mm, START);
  yield* access(machine.memory, "write", leaf, HUGE_PAGES, "pte");
  rewriteHuge(machine.memory.words, leaf, makePte(pfn, WRITTEN_RIGHTS));
  yield* mm.shootdown.flush(START, START + HUGE_PAGES);
  yield* mm.mmapLock.upRead();
}

/** The same, and a store to a page of it. */
export function replaceAndStore(page: number): Body {
  return function* (world, harness) {
    yield* replaceUnnotified(world, harness);
    yield* store(page)(world, harness);
  };
}

/** Keeps what page 5 holds before `body`, and writes it to the page after it. */
export function copiesEarly(body: Body): Body {
  return function* (world, harness) {
    const { ram, memory } = harness.machine;
    const kept = contentsOf(harness, 5);
    yield* body(world, harness);
    const pfn = ptePfn(harness.entryOf(START + 5));
    yield* dataStep(memory, "write", pfn);
    ram.sections.of(pfn).i32[ram.sections.wordIndex(pfn)] = kept;
  };
}

/** Changes one entry, and leaves the bit. Breaks U4 of mm/huge.ts. */
export function changeAlone(page: number, change: (pte: number) => number): Body {
  return function* ({ child: _child }, { machine, mm }) {
    yield* mm.mmapLock.downRead();
    const index = pteIndex(leafOf(machine.memory, mm.pgd, START), START + page);
    const pte = machine.memory.words[index]!;
    atomicExchange(machine.memory.words, index, change(pte));
    yield* mm.shootdown.flush(START, START + HUGE_PAGES);
    if (holdsFrame(pte) && change(pte) === 0) yield* machine.ram.refs.pagePut(ptePfn(pte));
    yield* mm.mmapLock.upRead();
  };
}

/** Breaks U2 of mm/huge.ts: links the leaf without a look at what is there. */
export function* linkBlindly(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const { memory, heap } = machine;
  yield* mm.mmapLock.downRead();
  const pfn = yield* machine.ram.allocRun(HUGE_PAGES, true);
  const leaf = yield* heap.allocWords(HUGE_PAGES);
  rewriteHuge(memory.words, leaf, makePte(pfn, WRITTEN_RIGHTS));
  const first = yield* cpuFaultAlready(machine.memory, mm);
  atomicStore(memory.words, first, leaf | 1);
  yield* mm.mmapLock.upRead();
}

/** Where the block's mid entry is. The mid table was made by the set-up. */
function* cpuFaultAlready(memory: Mm["memory"], mm: Mm): Task<number> {
  return midSlotOf(memory, mm.pgd, START);
}

/** Breaks U4 of mm/huge.ts: makes all writable by what it saw before the lock. */
export function* reuseBlindly(_world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const { memory } = machine;
  yield* mm.mmapLock.downRead();
  const leaf = hugeLeafAt(memory, mm, START);
  if (leaf !== 0) {
    const head = memory.words[leaf]!;
    yield* mm.pageTableLock.lock();
    rewriteHuge(memory.words, leaf, withWrite(head));
    yield* mm.pageTableLock.unlock();
  }
  yield* mm.mmapLock.upRead();
}

/** Shares a huge page without a look at its pins. */
export function* forkPinned(world: HugeWorld, harness: HmmHarness): Task<void> {
  // The machine is this scenario's alone.
  Object.defineProperty(harness.machine.ram.refs, "isAnyPinned", {
    value: () => doneBoolean(false),
    configurable: true,
  });
  yield* fork(world, harness);
}

/** The store to page 5 is where the page is now. */
export function requireStored(harness: HmmHarness): void {
  assert(contentsOf(harness, 5) === AFTER, "the store is lost");
}

/** Forks, and notes what the child has on page 5 then. */
export function seeAndFork(body: Body): Body {
  return function* (world, harness) {
    yield* body(world, harness);
    const child = Mm.at(harness.machine.memory, world.child);
    world.seenByChild = yield* new HarnessCpu(harness, child).load(addressOf(5));
  };
}

export function* forkUnflushed(world: HugeWorld, { machine, mm }: HmmHarness): Task<void> {
  const shootdown = Object.create(mm.shootdown, { flush: { value: () => DONE } }) as object;
  const unflushed = Object.create(mm, { shootdown: { value: shootdown } }) as Mm;
  world.child = yield* doFork(machine, unflushed);
}

/** Opens a view of one page for reading, and stores there. */
export function* pinAndStore(_world: HugeWorld, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const page = START + 5;
  const at = yield* viewOpen(machine, mm, page, page + 1, false);
  assert(at > 0, `opening answered ${at}`);
  yield* new HarnessCpu(harness).store(addressOf(5), AFTER);
  yield* viewClose(machine, at);
}
