/**
 * @module A device and a CPU thread that witness the calls of one thread (map, move, protect, fork,
 * fault). The device knows every entry and forgets those that are invalidated. What it knows must
 * be true whenever it is called, and at the end; and after the end of an invalidation the pages
 * must not change any more. The CPU thread has a translation of every page. Each load and store
 * after the call must reach the page as it is then. No other thread runs: this finds steps that are
 * missing or in the wrong order.
 */

import {
  type HmmHarness,
  HARNESS_PAGE,
  type HarnessOptions,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import {
  type Struct,
  type StructView,
  embed,
  struct,
} from "../../../../src/memory/layout/struct.ts";
import { PAGE_BYTES, PTE_PRESENT, PTE_TRACKED, PTE_WRITE, ptePfn } from "../../../../src/mm/pte.ts";
import { TASK_SIZE_PAGES } from "../../../../src/mmu/radix-table.ts";
import type { Mm } from "../../../../src/mm/mm-struct.ts";
import { mmdrop, mmgrab } from "../../../../src/mm/lifetime/mm.ts";
import { VM_WRITE, vmasIn } from "../../../../src/mm/vma/vma.ts";
import { CpuTranslator } from "../../../../src/mm/fault/cpu-fault.ts";
import type { Translator } from "../../../../src/mmu/translator.ts";
import { TypedMemory } from "../../../../src/mmu/typed-memory.ts";
import type { InvalidateRange } from "../../../../src/notifier/events.ts";
import { mmuNotifierRegister, registerNotifierOps } from "../../../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../../../src/notifier/subscriptions.ts";
import { SegmentationFault, assert, bug } from "../../../../src/sync/errors.ts";
import { SteppingRunner, callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { SharedMemory } from "../../../../src/sync/shared-memory.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, leave, requireNothingLeft } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { contentsOf, mapped } from "../space-state.ts";

interface WitnessRecord extends StructView {
  readonly node: MmuNotifier;
}
const WitnessRecord: Struct<WitnessRecord> = struct<WitnessRecord>("coveredWitness", {
  node: embed(MmuNotifier, "first field"),
});

/**
 * What a device knows of an entry: that it is present, its frame, its rights, and whether a copy is
 * valid.
 */
const RELIED_ON: number = PTE_PRESENT | PTE_WRITE | PTE_TRACKED;

/** The result of a load or a store that faults. */
const FAULT = "fault";

/** The result of an access that misses the TLB. */
class Forgotten extends Error {}

/** What a page was when a thread met it. */
interface Remembered {
  readonly memory: TypedMemory;
  readonly pte: number;
}

/**
 * The cached translations of CPU threads, and the entries from which they were made. A TLB for each
 * page: it caches the translation of the page that it met last, and reads the entries of others in
 * the table.
 */
class Rememberer {
  readonly #harness: HmmHarness;
  readonly #translator: Translator;
  readonly #pages = new Map<number, Remembered>();
  #asks = false;

  constructor(harness: HmmHarness) {
    const { machine, mm } = harness;
    const translator = new CpuTranslator(machine, mm, new SteppingRunner());
    this.#harness = harness;
    this.#translator = {
      writeBits: translator.writeBits,
      root: () => {
        if (this.#asks) throw new Forgotten();
        return translator.root();
      },
      fault: (page, write, address) => translator.fault(page, write, address),
    };
  }

  /** Loads, and stores the same value where that is allowed, to get translations. */
  *remember(page: number): Task<void> {
    const { machine, mm } = this.#harness;
    const memory = new TypedMemory(machine, mm.shootdown, this.#translator);
    const { u32 } = memory;
    const value = yield* callInSteps(u32, "load", page * PAGE_BYTES);
    const pte = this.#harness.entryOf(page);
    if ((pte & PTE_WRITE) !== 0) yield* callInSteps(u32, "store", page * PAGE_BYTES, value);
    this.#pages.set(page, { memory, pte });
  }

  /**
   * At the end of an invalidation no translation from before may be cached, because the notifiers
   * read or copy then.
   */
  *requireForgotten(range: InvalidateRange): Task<void> {
    this.#asks = true;
    for (const [page, { memory, pte }] of this.#pages) {
      const now = this.#harness.entryOf(page);
      const isLess = ptePfn(now) !== ptePfn(pte) || (pte & ~now & (PTE_PRESENT | PTE_WRITE)) !== 0;
      if (isIn(page, range) && isLess)
        assert(yield* hasForgotten(memory, page), `page ${page - HARNESS_PAGE} is remembered`);
    }
    this.#asks = false;
  }
}

function* hasForgotten({ u32 }: TypedMemory, page: number): Task<boolean> {
  try {
    yield* callInSteps(u32, "load", page * PAGE_BYTES);
  } catch (error) {
    if (error instanceof Forgotten) return true;
    throw error;
  }
  return false;
}

/** A device that knows the entries of the harness's space. */
class Witness {
  readonly #harness: HmmHarness;
  readonly #cpu: Rememberer;
  /** By page. */
  readonly #known = new Map<number, number>();
  readonly #copies = new Map<number, number | typeof FAULT>();
  /** As they were at the end of the last invalidation of the page. */
  readonly #settled = new Map<number, number>();
  underWay = 0;
  releases = 0;

  constructor(harness: HmmHarness, cpu: Rememberer) {
    this.#harness = harness;
    this.#cpu = cpu;
  }

  /** Reads every entry, and copies the pages that are tracked. */
  learn(): void {
    this.#settled.clear();
    for (const page of pagesOf(this.#harness)) {
      const pte = this.#harness.entryOf(page);
      if ((pte & PTE_PRESENT) !== 0) this.#known.set(page, pte);
      if ((pte & PTE_TRACKED) !== 0) this.#copies.set(page, saidBy(this.#harness, page));
    }
  }

  start(range: InvalidateRange): void {
    this.requireTrue("before the device is told");
    this.underWay++;
    for (const pages of [this.#known, this.#copies, this.#settled]) {
      for (const page of pages.keys()) if (isIn(page, range)) pages.delete(page);
    }
  }

  *end(range: InvalidateRange): Task<void> {
    this.underWay--;
    const pages = [...pagesOf(this.#harness)];
    for (const page of pages)
      if (isIn(page, range)) this.#settled.set(page, this.#harness.entryOf(page));
    yield* this.#cpu.requireForgotten(range);
  }

  release(): void {
    this.requireTrue("before the device is released");
    this.releases++;
    for (const pages of [this.#known, this.#copies, this.#settled]) pages.clear();
  }

  /** What the device knows is true, and no page has changed after the end of its invalidation. */
  requireTrue(when: string): void {
    for (const [page, known] of this.#known) {
      const now = this.#harness.entryOf(page);
      const isTrue = ptePfn(now) === ptePfn(known) && (known & RELIED_ON & ~now) === 0;
      assert(isTrue, `${when}, entry ${known} of page ${page - HARNESS_PAGE} is ${now}`);
    }
    for (const [page, copy] of this.#copies) {
      const now = saidBy(this.#harness, page);
      assert(
        copy === now,
        `${when}, page ${page - HARNESS_PAGE} says ${now}, and the device's copy ${copy}`,
      );
    }
    for (const [page, settled] of this.#settled) {
      if ((settled & PTE_PRESENT) === 0) continue;
      const now = this.#harness.entryOf(page);
      const isTrue = ptePfn(now) === ptePfn(settled) && (settled & RELIED_ON) === (now & RELIED_ON);
      assert(
        isTrue,
        `${when}, entry ${settled} of page ${page - HARNESS_PAGE} has become ${now} after the end`,
      );
    }
  }
}

function isIn(page: number, { startPage, endPage }: InvalidateRange): boolean {
  return page >= startPage && page < endPage;
}

/** So many pages of each mapping are looked at, the first: those of a huge page are alike. */
const PAGES_MAX = 24;

function* pagesOf({ machine, mm }: HmmHarness): Generator<number, void, void> {
  for (const { startPage, endPage } of vmasIn(machine.memory, mm, 0, TASK_SIZE_PAGES)) {
    const end = Math.min(endPage, startPage + PAGES_MAX);
    for (let page = startPage; page < end; page++) yield page;
  }
}

/** By the memory of each harness, in the current execution. */
const witnesses = new WeakMap<SharedMemory, Witness>();

const witnessOf = ({ memory }: Machine): Witness =>
  witnesses.get(memory) ?? bug("Nobody is a witness here");

const WITNESS_OPS: number = registerNotifierOps("covered witness", {
  *invalidateRangeStart(machine, _at, range): Task<number> {
    witnessOf(machine).start(range);
    return 0;
  },
  *invalidateRangeEnd(machine, _at, range): Task<void> {
    yield* witnessOf(machine).end(range);
  },
  *release(machine): Task<void> {
    witnessOf(machine).release();
  },
});

/** In the set-up. */
function* listen({ machine, mm }: HmmHarness): Task<void> {
  const { node } = WitnessRecord.at(machine.memory, yield* machine.heap.alloc(WitnessRecord));
  yield* mmgrab(mm);
  yield* mm.mmapLock.downWrite();
  yield* mmuNotifierRegister(machine, mm.notifiers, node, WITNESS_OPS);
  yield* mm.mmapLock.upWrite();
}

function* orFault<T>(access: Task<T>): Task<T | typeof FAULT> {
  try {
    return yield* access;
  } catch (error) {
    if (error instanceof SegmentationFault) return FAULT;
    throw error;
  }
}

/** Loads from each present page, and stores where it may, so both have translations. */
function* remember(cpu: HarnessCpu, rememberer: Rememberer, harness: HmmHarness): Task<number[]> {
  const pages = [...pagesOf(harness)].filter((page) => (harness.entryOf(page) & PTE_PRESENT) !== 0);
  for (const page of pages) {
    const value = yield* cpu.load(page * PAGE_BYTES);
    if ((harness.entryOf(page) & PTE_WRITE) !== 0) yield* cpu.store(page * PAGE_BYTES, value);
    yield* rememberer.remember(page);
  }
  return pages;
}

/** What a page holds, by the present mappings and entries. */
function saidBy(harness: HmmHarness, page: number): number | typeof FAULT {
  for (const vma of vmasIn(harness.machine.memory, harness.mm, page, page + 1)) {
    return contentsOf(harness, harness.mm, vma, page) ?? FAULT;
  }
  return FAULT;
}

/** Loads and stores through cached translations have the results that the mappings give now. */
function* requireCurrent(
  cpu: HarnessCpu,
  harness: HmmHarness,
  pages: readonly number[],
): Task<void> {
  for (const page of pages) {
    const value = yield* orFault(cpu.load(page * PAGE_BYTES));
    const said = saidBy(harness, page);
    assert(
      value === FAULT || value === said,
      `page ${page - HARNESS_PAGE} says ${said}, and a load gives ${value}`,
    );
    const stored = yield* orFault(cpu.store(page * PAGE_BYTES, 7));
    const now = saidBy(harness, page);
    const [vma] = vmasIn(harness.machine.memory, harness.mm, page, page + 1);
    const isWritable = vma !== undefined && (vma.flags & VM_WRITE) !== 0 && said !== FAULT;
    assert(
      isWritable === (stored !== FAULT),
      `a store to page ${page - HARNESS_PAGE} is ${stored ?? "done"}`,
    );
    const wanted = isWritable ? 7 : said;
    assert(
      now === wanted,
      `7 was stored to page ${page - HARNESS_PAGE} (${stored ?? "done"}), and it says ${now}`,
    );
  }
}

/** The child's pages, which no store of the parent may change. */
function privateOf(harness: HmmHarness, child: Mm | undefined): string {
  if (child === undefined) return "";
  return mapped(harness, HARNESS_PAGE, child)
    .split(", ")
    .filter((text) => !/shared|buffer/.test(text))
    .join(", ");
}

/** A call, with checks beside those of the witnesses. */
function* withWitnesses<S>(attempt: Attempt<S>, harness: HmmHarness, shared: S): Task<void> {
  const { act, childOf, undo, wanted = mapped(harness, HARNESS_PAGE) } = attempt;
  const cpu = new HarnessCpu(harness);
  const rememberer = new Rememberer(harness);
  const pages = yield* remember(cpu, rememberer, harness);
  const witness = new Witness(harness, rememberer);
  witness.learn();
  witnesses.set(harness.machine.memory, witness);
  const answer = yield* act(harness, shared);
  assert(answer >= 0, `the answer was ${answer}`);
  witness.requireTrue("in the end");
  assert(
    mapped(harness, HARNESS_PAGE) === wanted,
    `what is mapped is ${mapped(harness, HARNESS_PAGE)}, and not ${wanted}`,
  );
  const child = childOf?.(harness, shared, answer);
  const childs = privateOf(harness, child);
  witness.learn();
  yield* requireCurrent(cpu, harness, pages);
  witness.requireTrue("after stores");
  assert(privateOf(harness, child) === childs, "a child sees what its parent has stored");
  if (undo !== undefined) yield* undo(harness, shared, answer);
  assert(witness.underWay === 0, `${witness.underWay} invalidations are not over`);
  yield* leave(harness);
  yield* mmdrop(harness.machine, harness.mm); // pairs with the listener's grab
  assert(witness.releases === 1, `the device was released ${witness.releases} times`);
  requireNothingLeft(harness);
}

const ROOM: HarnessOptions = { pages: 0, arenaWords: 16_384, frames: 32 };

function make<S>(attempt: Attempt<S>, name: string, isTwin: boolean): AnyScenario {
  return harnessScenario<S>({
    name: `coverage/${attempt.layer}/witnessed/${name}`,
    summary: `${attempt.summary} A device and a CPU thread with translations are witnesses.`,
    ...(isTwin ? { expects: "assertion" } : {}),
    harness: { ...ROOM, ...attempt.harness },
    exploration: { maxSteps: 40_000 },
    setup: (harness) => {
      const shared = attempt.setup(harness);
      harness.run(listen(harness));
      return shared;
    },
    tasks: { thread: (shared, harness) => withWitnesses(attempt, harness, shared) },
  });
}

/** The attempt with both witnesses, and broken variants of it by name. */
export function witnessed<S>(
  attempt: Attempt<S>,
  twins: Readonly<Record<string, Attempt<S>["act"]>> = {},
): Covered {
  const { layer, name, runs } = attempt;
  const broken = Object.entries(twins).map(([twin, act]) =>
    make({ ...attempt, act }, `${name}/${twin}`, true),
  );
  return { layer, scenario: make(attempt, name, false), twins: broken, runs: { thread: runs } };
}
