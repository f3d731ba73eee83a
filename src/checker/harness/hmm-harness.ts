/**
 * @module A small machine for scenarios about address spaces and devices. It has one address space
 * of a few pages. Each explored task allocates from an arena of its own (memory/heap/arenas.ts).
 * Scenarios about a driver begin with it.
 *
 * G1. The machine is made when the scenario is explored for the first time, and serves all its
 *     explorations. A machine takes a megabyte, and there are hundreds of scenarios. So a thread
 *     keeps HARNESSES_KEPT of them, and drops the oldest; a later exploration then makes a new one.
 * G2. Between executions the explorer restores the kernel heap, and the harness the RAM.
 * G3. The accounting (allocated objects by struct, frames in use) is recorded after the set-up.
 *     `balanced` compares it.
 */

import { DEFAULT_ENCODING, entryIsValid, entryPfn } from "../../hmm/entry.ts";
import { HmmMirror } from "../../hmm/mirror-record.ts";
import type { HmmMirrorRecord } from "../../hmm/mirror-record.ts";
import { hmmMirrorRegister } from "../../hmm/mirror/mirror.ts";
import { hmmRangeAlloc, hmmRangeFree, withHmmRange } from "../../hmm/range/range.ts";
import type { HmmRange } from "../../hmm/range/range.ts";
import { formatPointer } from "../../memory/layout/poison.ts";
import { HEAP_BYTES_MIN, Machine } from "../../memory/machine.ts";
import type { RamSnapshot } from "../../memory/frames/ram-snapshot.ts";
import { Shortage } from "../../memory/heap/shortage.ts";
import { struct, u32 } from "../../memory/layout/struct.ts";
import type { Struct, StructView } from "../../memory/layout/struct.ts";
import { cpuFault } from "../../mm/fault/cpu-fault.ts";
import { MADV_DONTNEED, doMadvise } from "../../mm/calls/madvise.ts";
import { Mm } from "../../mm/mm-struct.ts";
import { mmCreate } from "../../mm/lifetime/mm.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../mm/calls/mmap.ts";
import { PAGE_BYTES, PTE_PRESENT, ptePfn } from "../../mm/pte.ts";
import { LEAF_WORDS } from "../../mmu/radix-table.ts";
import { VM_READ, VM_WRITE } from "../../mm/vma/vma.ts";
import { abandonMachine, selectAgent } from "../../sync/runners/agents.ts";
import {
  AGENTS_USED,
  AGENT_INSIDE,
  AGENT_LIVE,
  AGENT_STATE,
  AGENT_STATE_MASK,
  MAGIC,
  MAGIC_VALUE,
  agentRecord,
} from "../../sync/control-block.ts";
import { errnoName } from "../../sync/errno.ts";
import type { Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import { runBlocking } from "../../sync/runners/run-blocking.ts";
import { DEBUG } from "../../sync/shared-memory.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { requireDone } from "../execution/require-task.ts";
import { knowUntouched } from "../execution/starting-state.ts";
import { defineScenario } from "../scenario.ts";
import type { AnyScenario, Invariant, Scenario, StateTable } from "../scenario.ts";
import { notePlainAccess } from "../watch/plain-accesses.ts";
import { describeSpace, entryOfPage } from "./harness-state.ts";

/** The sizes of a harness. All are optional. */
export interface HarnessOptions {
  /**
   * Pages mapped from {@link HARNESS_PAGE} on: readable, writable, private, anonymous. Default 2.
   */
  readonly pages?: number;
  /** How many of these are present at the beginning. Default: all. */
  readonly present?: number;
  /**
   * Words of kernel heap that each task may allocate: 512 times a power of two, at most 16,384.
   * Default 4096.
   */
  readonly arenaWords?: number;
  /** Frames that each task may allocate, at most 62. Default 8. */
  readonly frames?: number;
  /** RAM for so many huge pages, besides. Default 0. */
  readonly hugePages?: number;
  /** Tasks may cause a shortage of memory: see {@link HmmHarness.shortage}. Default false. */
  readonly shortage?: boolean;
}

/** The first mapped page of a harness's address space. */
export const HARNESS_PAGE = 64;

/** Pages of RAM for the set-up, besides those of the tasks. */
const SETUP_PAGES = 64;
/**
 * Pages of kernel heap, besides the minimum of a machine and the arenas. The whole heap is restored
 * before each execution, so it is small.
 */
const HEAP_PAGES = 48;

/** How many harnesses a thread keeps (G1). */
const HARNESSES_KEPT = 8;

const ShortageWord: Struct<StructView> = struct<StructView>("harnessShortage", {
  word: u32("atomic", "whether allocations of tasks fail"),
});

/**
 * A machine with one address space, in which the first pages from {@link HARNESS_PAGE} on are
 * mapped.
 */
export class HmmHarness {
  /** The machine that the scenario runs on. */
  readonly machine: Machine;
  /** Its address space. */
  readonly mm: Mm;
  /** Mapped pages, from {@link HARNESS_PAGE} on. */
  readonly pages: number;

  readonly #shortage: Shortage | undefined;
  /** Of the set-up. */
  readonly #agentId: number;
  /** The words as they were before {@link runAfterwards}. */
  #before: Int32Array | undefined;

  /** More tables for {@link describe}: a device adds its own. */
  readonly tables: (() => StateTable)[] = [];

  /** For a scenario with `tasks` tasks. */
  constructor(tasks: number, options: HarnessOptions = {}) {
    const { pages = 2, present = pages, arenaWords = 4096, frames = 8, shortage = false } = options;
    const { hugePages = 0 } = options;
    // Huge pages are aligned, so the rest may cost one.
    const hugeRuns = hugePages === 0 ? 0 : hugePages + 1;
    const ramBytes = (SETUP_PAGES + tasks * frames + hugeRuns * LEAF_WORDS) * PAGE_BYTES;
    const heapBytes = HEAP_BYTES_MIN + HEAP_PAGES * PAGE_BYTES + tasks * arenaWords * 4;
    this.machine = Machine.create({ ramBytes, heapBytes, debug: true, name: "set-up" });
    this.machine.memory.plainWatch = { note: notePlainAccess };
    knowUntouched(this.machine.memory, () => this.machine.heap.watchUntouched());
    this.#agentId = this.machine.memory.agentId;
    this.pages = pages;
    const { machine } = this;
    const hasRoom =
      this.run(machine.heap.useArenas(tasks, arenaWords)) &&
      machine.ram.allocator.stockRows(tasks, frames);
    if (!hasRoom)
      bug(
        `Cannot make a harness for ${tasks} tasks: too much was asked for each; lower arenaWords or frames`,
      );
    if (shortage) this.#shortage = this.#makeShortage();
    this.mm = Mm.at(machine.memory, this.run(mmCreate(machine)));
    if (pages > 0) this.map(HARNESS_PAGE, pages);
    for (let page = HARNESS_PAGE; page < HARNESS_PAGE + present; page++)
      this.run(cpuFault(machine, this.mm, page, true));
  }

  /**
   * A shortage of memory. If a task only calls `harness.shortage.begin()`, all allocations of the
   * other tasks fail from some point on, and each such point is explored. A task that gets ENOMEM
   * ends the shortage (`end`) and tries again, which must succeed.
   */
  get shortage(): Shortage {
    return (
      this.#shortage ??
      bug("This harness has no shortage; ask for one: harness: { shortage: true }")
    );
  }

  #makeShortage(): Shortage {
    const { memory, heap, ram } = this.machine;
    const at = this.run(heap.alloc(ShortageWord));
    if (at === 0) bug("Cannot make the harness's shortage: its heap is full");
    const shortage = new Shortage(memory, at);
    heap.useShortage(shortage);
    ram.allocator.shortage = shortage;
    return shortage;
  }

  /** Runs a task of the set-up to its end. Not for use in a scenario's tasks. */
  run<T>(task: Task<T>): T {
    return runBlocking(this.machine.memory, task);
  }

  /**
   * Runs a task of `check` to its end, as a thread of the set-up: to use what is left, and to give
   * it up. Clock readings that it leaves in the control block are taken back, since every execution
   * ends in the same words.
   */
  runAfterwards<T>(task: Task<T>): T {
    const { memory } = this.machine;
    const { mode, agentId } = memory;
    this.#before ??= new Int32Array(memory.words.length);
    this.#before.set(memory.words);
    memory.mode = DEBUG;
    selectAgent(memory, this.#agentId);
    try {
      return this.run(task);
    } finally {
      memory.words.set(this.#before);
      selectAgent(memory, agentId);
      memory.mode = mode;
    }
  }

  /**
   * For the set-up: maps `pages` pages from page number `startPage` on. `protection` is of VM_READ
   * and VM_WRITE.
   */
  map(
    startPage: number,
    pages: number,
    protection: number = VM_READ | VM_WRITE,
    shared: boolean = false,
  ): void {
    const address = startPage * PAGE_BYTES;
    const lengthBytes = pages * PAGE_BYTES;
    const place = { lengthBytes, address, placement: MAP_FIXED_NOREPLACE, protection, shared };
    const mapped = this.run(
      doMmap(this.machine, this.mm, { ...place, bufferPfn: 0, offsetPages: 0 }),
    );
    if (mapped !== address)
      bug(
        `Cannot map ${pages} pages of the harness at page ${startPage}: the answer was ${mapped}`,
      );
  }

  /** For the set-up: a zeroed object in the machine's heap. */
  alloc<T extends StructView>(ofStruct: Struct<T>): T {
    const at = this.run(this.machine.heap.alloc(ofStruct));
    if (at === 0) bug(`Cannot allocate a ${ofStruct.name} for the harness: its heap is full`);
    return ofStruct.at(this.machine.memory, at);
  }

  /**
   * For the set-up: registers the mirror at `record`, with the ops of a driver from
   * `registerMirrorOps`.
   */
  register(record: HmmMirrorRecord, opsId: number): HmmMirror {
    const mirror = new HmmMirror(this.machine, record.at);
    mirror.init(opsId);
    const errno = this.run(registerLocked(mirror, this.mm));
    if (errno !== 0) bug(`Cannot register ${String(mirror)} on the harness: ${errnoName(errno)}`);
    return mirror;
  }

  /**
   * Registers a range over `pages` pages from `startPage` on with `mirror`, runs `use` with it, and
   * frees it. `defaultFlags` as in HmmRange. Returns the result of `use`, or the errno of the
   * allocation or the registration.
   */
  *withRange(
    mirror: HmmMirror,
    startPage: number,
    pages: number,
    use: (range: HmmRange) => Task<number>,
    defaultFlags: number = DEFAULT_ENCODING.flags.valid,
  ): Task<number> {
    const range = yield* hmmRangeAlloc(this.machine, {
      pfns: new Uint32Array(pages),
      defaultFlags,
    });
    if (typeof range === "number") return range;
    const [start, end] = [startPage * PAGE_BYTES, (startPage + pages) * PAGE_BYTES];
    const result = yield* withHmmRange(range, mirror, start, end, () => use(range));
    yield* hmmRangeFree(range);
    return result;
  }

  /**
   * A CPU thread gives pages up: madvise(MADV_DONTNEED). From then on they read as zeros, in new
   * frames.
   */
  discard(startPage: number, pages: number): Task<Errno> {
    return doMadvise(
      this.machine,
      this.mm,
      startPage * PAGE_BYTES,
      pages * PAGE_BYTES,
      MADV_DONTNEED,
    );
  }

  /**
   * A CPU thread stores to a page that is not present or not writable: a page fault.
   */
  touch(page: number): Task<Errno> {
    return cpuFault(this.machine, this.mm, page, true);
  }

  /**
   * Throws if `entry`, which a range gave to a device, names a frame that is not the page's. An
   * invalid entry passes: the device would fault. Call it when no operation is in progress, or
   * under the driver lock.
   */
  requireCurrent(page: number, entry: number, mm: Mm = this.mm): void {
    if (!entryIsValid(entry, DEFAULT_ENCODING)) return;
    const pte = this.entryOf(page, mm);
    const pfn = entryPfn(entry, DEFAULT_ENCODING);
    if ((pte & PTE_PRESENT) !== 0 && ptePfn(pte) === pfn) return;
    const now = (pte & PTE_PRESENT) === 0 ? "has no frame any more" : `is in frame ${ptePfn(pte)}`;
    bug(`The device reaches frame ${pfn} for page ${page}, which ${now}`);
  }

  /** The page's entry in the page table of `mm`; 0 if there is none. It is no step. */
  entryOf(page: number, mm: Mm = this.mm): number {
    return entryOfPage(this.machine, mm, page);
  }

  /** The state for reports. Its reads are no accesses for the checker. */
  describe(): StateTable[] {
    const space = describeSpace(this.machine, this.mm, HARNESS_PAGE, HARNESS_PAGE + this.pages);
    return [...space, ...this.tables.map((table) => table())];
  }

  /** The accounting: allocated objects by struct, frames in use, references to frames. */
  accounting(): string {
    const { heap, ram } = this.machine;
    const accounts = heap.accounting().map(({ name, live }) => `${live} ${name}`);
    const { references, pins } = ram.refs.total();
    const counts = [
      `${ram.usage().usedPages} frames`,
      `${references} frame references`,
      `${pins} pins`,
    ];
    return [...accounts, ...counts].join(", ");
  }
}

function* registerLocked(mirror: HmmMirror, mm: Mm): Task<Errno> {
  yield* mm.mmapLock.downWrite();
  const errno = yield* hmmMirrorRegister(mirror, mm);
  yield* mm.mmapLock.upWrite();
  return errno;
}

/** A {@link Scenario} whose tasks run on a harness: a machine with an address space. */
export interface HarnessScenario<S> extends Omit<
  Scenario<S>,
  "memory" | "setup" | "tasks" | "check" | "reopen" | "words"
> {
  /** How large the machine is, and what its space has. Default: {@link HarnessOptions}'s own. */
  readonly harness?: HarnessOptions;
  /** Called once, in the exploring thread: makes what the tasks share. */
  setup(harness: HmmHarness): S;
  /** The tasks, by name. */
  readonly tasks: Readonly<Record<string, (shared: S, harness: HmmHarness) => Task<unknown>>>;
  /** Called after an execution in which every task returned. Throws if the outcome is wrong. */
  check?(shared: S, harness: HmmHarness): void;
  /** Called before each execution: resets the part of the shared state that is in JavaScript. */
  reopen?(shared: S, harness: HmmHarness): void;
  /** The accounting must be the same at the end as after the set-up. Default false. */
  readonly balanced?: boolean;
}

/** Makes a scenario for {@link explore}. */
export function harnessScenario<S>(parts: HarnessScenario<S>): AnyScenario {
  let latest: Made<S> | undefined;
  // By memory, because another exploration may have made another machine meanwhile (G1).
  const madeOn = new WeakMap<SharedMemory, Made<S>>();
  const get = (memory: SharedMemory): Made<S> =>
    madeOn.get(memory) ?? bug("This memory is of no harness of the scenario");
  type Body = (made: Made<S>) => Task<unknown>;
  // One for each function, so that symmetric tasks stay symmetric.
  const bodies = new Map<unknown, Body>();
  const entries = Object.entries(parts.tasks).map(([name, task]) => {
    const body: Body =
      bodies.get(task) ?? (({ shared, harness }): Task<unknown> => task(shared, harness));
    bodies.set(task, body);
    return [name, body] as const;
  });
  const { invariants, ...rest } = parts;
  return defineScenario<Made<S>>({
    ...rest,
    ...(invariants === undefined
      ? {}
      : { invariants: invariants.map((invariant) => onShared(invariant)) }),
    memory: () => {
      if (latest === undefined) {
        const made = make(parts);
        latest = made;
        madeOn.set(made.harness.machine.memory, made);
        keep(() => {
          if (latest === made) latest = undefined;
          // The set-up may own mirrors, so its agent cannot unregister. Without this the memory
          // would never be freed.
          abandonMachine(made.harness.machine.memory);
        });
      }
      return latest.harness.machine.memory;
    },
    setup: get,
    tasks: Object.fromEntries(entries),
    check: ({ harness, shared, accounting }) => {
      requireNobodyInside(harness.machine.memory);
      requirePoison(harness.machine);
      requireHead(harness.machine.memory);
      requireDone<unknown>(parts.check?.(shared, harness), parts.name, "check");
      if (parts.balanced === true) requireAccounting(accounting, harness.accounting());
    },
    describe: ({ harness }) => harness.describe(),
    reopen: (memory) => {
      const made = get(memory);
      made.ram.restore();
      parts.reopen?.(made.shared, made.harness);
      return made;
    },
  });
}

function onShared<S>(invariant: Invariant<S>): Invariant<Made<S>> {
  return {
    name: invariant.name,
    words: ({ shared }) => invariant.words(shared),
    holds: ({ shared }) => invariant.holds(shared),
  };
}

const kept: (() => void)[] = [];

/** G1. `drop` is called when HARNESSES_KEPT others have been made. */
function keep(drop: () => void): void {
  kept.push(drop);
  if (kept.length > HARNESSES_KEPT) kept.shift()?.();
}

interface Made<S> {
  readonly harness: HmmHarness;
  readonly shared: S;
  readonly ram: RamSnapshot;
  readonly accounting: string;
}

function make<S>(parts: HarnessScenario<S>): Made<S> {
  // The reaper of dead threads is a task, too.
  const tasks = Object.keys(parts.tasks).length + (parts.exploration?.deaths === undefined ? 0 : 1);
  const harness = new HmmHarness(tasks, parts.harness);
  const shared = requireDone(parts.setup(harness), parts.name, "setup");
  return { harness, shared, ram: harness.machine.ram.snapshot(), accounting: harness.accounting() };
}

/**
 * A shootdown waits for stores in progress. So every task must have left its store when it is over.
 */
function requireNobodyInside({ words }: SharedMemory): void {
  for (let agentId = 0, end = words[AGENTS_USED]!; agentId < end; agentId++) {
    const state = words[agentRecord(agentId) + AGENT_STATE]! & AGENT_STATE_MASK;
    const isInside = (words[agentRecord(agentId) + AGENT_INSIDE]! & 1) !== 0;
    if (isInside && state === AGENT_LIVE)
      bug(`Thread ${agentId} has not left its store: enterStore without leaveStore`);
  }
}

/** Notes and other plain stores come with a step of another word, or with none. */
function requirePoison({ heap }: Machine): void {
  const at = heap.writtenAfterFree();
  if (at !== 0) bug(`Somebody has stored to the object at ${formatPointer(at)} after its free`);
}

/** A note of no word has index 0, which is a word of the machine. */
function requireHead({ words }: SharedMemory): void {
  if (words[MAGIC] !== MAGIC_VALUE) bug("Something was noted at index 0, where there is no note");
}

function requireAccounting(before: string, after: string): void {
  if (before === after) return;
  const known = new Set(before.split(", "));
  const left = new Set(after.split(", "));
  const gone = [...known].filter((account) => !left.has(account));
  const more = [...left].filter((account) => !known.has(account));
  bug(
    `The accounting does not balance: ${gone.join(", ") || "nothing"} at the beginning, ${more.join(", ") || "nothing"} at the end`,
  );
}
