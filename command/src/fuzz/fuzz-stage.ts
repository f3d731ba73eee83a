/**
 * @module The stage of random programs: a harness with one address space of a few pages and a
 * registered device. It is made once for each number of tasks, and the explorer restores it. Each
 * task holds an mm user and puts it at its end, so the address space goes with the last one.
 * Afterwards as much must be allocated as after a program without calls.
 */

import { explore } from "../../../src/checker/explore.ts";
import { HarnessCpu } from "../../../src/checker/harness/harness-cpu.ts";
import { HmmHarness, HARNESS_PAGE } from "../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_TABLE_PAGES, HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import { defineScenario } from "../../../src/checker/scenario.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { DEFAULT_ENCODING, entryIsWritable } from "../../../src/hmm/entry.ts";
import { makeDeviceMemory } from "../../../src/memory/device-memory.ts";
import { DEVICE_PRIVATE } from "../../../src/memory/frames/device-frames.ts";
import type { DeviceMemory } from "../../../src/memory/frames/device-frames.ts";
import { hmmMirrorUnregister } from "../../../src/hmm/mirror/mirror.ts";
import type { RamSnapshot } from "../../../src/memory/frames/ram-snapshot.ts";
import { MADV_HUGEPAGE, doMadvise } from "../../../src/mm/calls/madvise.ts";
import { HUGE_PAGES } from "../../../src/mm/huge.ts";
import { claim, dropClaim, openSource } from "../../../src/mm/source/source-table.ts";
import { joinDeviceSpaces } from "../../../src/mm/device-spaces.ts";
import { registerDeviceMemoryOps } from "../../../src/mm/fault/device-private.ts";
import { migrateFaultToRam } from "../../../src/mm/migrate/migrate-vma.ts";
import { Mm } from "../../../src/mm/mm-struct.ts";
import { mmget, mmput } from "../../../src/mm/lifetime/mm.ts";
import { PAGE_BYTES, PTE_WRITE } from "../../../src/mm/pte.ts";
import { errnoName } from "../../../src/sync/errno.ts";
import type { Errno } from "../../../src/sync/errno.ts";
import { bug } from "../../../src/sync/errors.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { Sampler } from "../../../src/checker/session/sampler.ts";
import type { SampleOptions } from "../../../src/checker/session/sampler.ts";
import { ProgramStore } from "./program-store.ts";
import { TASK_NAMES } from "./fuzz-program.ts";
import type { CallName, FuzzCall, FuzzProgram } from "./fuzz-program.ts";

const PAGES = 3;
const PRESENT = 2;
const ARENA_WORDS = 16_384;
const FRAMES = 16;
/** The first page of the block of 2 MiB. */
const BLOCK_PAGE = HUGE_PAGES;
/** Executions with huge pages are long. */
export const STEPS_MAX = 40_000;
/** Number of the device that has a memory of its own. */
export const OWNER = 5;
/** Fewer than programs ask for. */
const DEVICE_PAGES = 4;

const OPS: number = registerDeviceMemoryOps("fuzz device memory", {
  migrateToRam: migrateFaultToRam,
});

/** The implementation of a call. */
export interface Operation {
  perform(stage: FuzzStage, mm: Mm, call: PlacedCall): Task<number>;
  /** The errors that the call's documentation allows. */
  readonly answers: readonly Errno[];
}

export type OperationTable = Readonly<Record<CallName, Operation>>;

/** The exports of a module with operations. */
export interface OperationsModule {
  readonly operations: OperationTable;
}

/** A call with its page number resolved. */
export interface PlacedCall {
  readonly task: number;
  readonly call: FuzzCall;
  readonly startPage: number;
  readonly pages: number;
}

/** Is called when a task begins and ends a call, for the signals. */
export interface CallWatcher {
  callBegan(task: number, op: CallName): void;
  callEnded(task: number, op: CallName, result: number): void;
}

/** What the tasks of a sample run. */
interface Running {
  readonly calls: readonly (readonly FuzzCall[])[];
  readonly operations: OperationTable;
}

export class FuzzStage {
  readonly harness: HmmHarness;
  /** Registered by the set-up, for good: only who registers a mirror may unregister it. */
  readonly device: HarnessDevice;
  /** Memory of a device, for pages that move. */
  readonly memory: DeviceMemory;
  /** Of the source, of which each task has a claim. */
  readonly cache: number;
  readonly store: ProgramStore = new ProgramStore();
  readonly #tasks: number;
  readonly #ram: RamSnapshot;
  readonly #own: readonly HarnessDevice[];
  // JavaScript state, made anew for each execution.
  readonly #hasOwn: boolean[] = [];
  /** By task: its living children, the youngest last. */
  children: number[][] = [];
  /** By task: its thread's accesses to the address space of the harness. */
  #cpus: (HarnessCpu | undefined)[] = [];
  watcher: CallWatcher | undefined;
  /** What is allocated after a program of no calls. */
  #accountingAtEnd = "";
  readonly #sampler: Sampler;
  #now: Running = { calls: [], operations: {} as OperationTable };

  constructor(tasks: number) {
    this.harness = new HmmHarness(tasks, {
      pages: PAGES,
      present: PRESENT,
      arenaWords: ARENA_WORDS,
      frames: FRAMES,
      hugePages: 1,
    });
    const { harness } = this;
    const { machine } = harness;
    this.device = HarnessDevice.registered(harness);
    const type = DEVICE_PRIVATE;
    const options = { pages: DEVICE_PAGES, type, owner: OWNER, opsId: OPS } as const;
    const memory = harness.run(makeDeviceMemory(machine, options));
    this.memory = typeof memory === "number" ? bug(`No device memory: ${memory}`) : memory;
    // Made once a machine, and not by the first program that needs it.
    harness.run(joinDeviceSpaces(machine, harness.mm));
    this.#mapBlock();
    // Each task has a claim; the set-up's own becomes that of the first task.
    this.cache = harness.run(
      openSource(machine, { lengthBytes: this.store.sizeBytes(), isWritable: true }),
    );
    if (this.cache <= 0) bug(`No source: ${this.cache}`);
    this.store.giveToAll(machine, this.cache, tasks);
    for (let task = 1; task < tasks; task++) harness.run(claim(machine, this.cache));
    this.#own = Array.from({ length: tasks }, () => new HarnessDevice(harness));
    this.#tasks = tasks;
    // The set-up's own user becomes that of the first task.
    for (let task = 1; task < tasks; task++) harness.run(mmget(harness.mm));
    this.#ram = machine.ram.snapshot();
    const names = TASK_NAMES.slice(0, tasks);
    this.#sampler = new Sampler(
      this.#scenarioOf("fuzz", names, () => this.#now),
      STEPS_MAX,
    );
  }

  /** Runs a program of no calls to learn what is left when all is well. */
  learnAccounting(): void {
    const names = TASK_NAMES.slice(0, this.#tasks).map((name) => [name, []] as const);
    const nothing = this.scenario(
      "fuzz/nothing",
      { tasks: Object.fromEntries(names) },
      {} as OperationTable,
    );
    const check = (): void => void (this.#accountingAtEnd = this.harness.accounting());
    const { findings } = explore(
      { ...nothing, check },
      { engine: "random", executions: 1, checkDeterminism: false, maxSteps: STEPS_MAX },
    );
    const [found] = findings;
    if (found !== undefined) bug(`The stage of the fuzzer does not stand: ${found.message}`);
  }

  /** Samples executions of the program, which must have as many tasks. */
  sample(
    program: FuzzProgram,
    operations: OperationTable,
    options: SampleOptions,
  ): ReturnType<Sampler["sample"]> {
    this.#now = { calls: Object.values(program.tasks), operations };
    return this.#sampler.sample(options);
  }

  /** Forgets what earlier samples have taught: what comes depends on what follows alone. */
  forget(): void {
    this.#sampler.forget();
  }

  /** The program as a scenario on this stage, which must be made for as many tasks. */
  scenario(name: string, program: FuzzProgram, operations: OperationTable): AnyScenario {
    const calls = Object.values(program.tasks);
    return this.#scenarioOf(name, Object.keys(program.tasks), () => ({ calls, operations }));
  }

  #scenarioOf(name: string, taskNames: readonly string[], now: () => Running): AnyScenario {
    const tasks = taskNames.map((task, i) => {
      const begin = (): Task<void> => {
        const { calls, operations } = now();
        return runTask(this, i, calls[i] ?? [], operations);
      };
      return [task, begin] as const;
    });
    return defineScenario<FuzzStage>({
      name,
      memory: () => this.harness.machine.memory,
      setup: () => this,
      tasks: Object.fromEntries(tasks),
      reopen: () => {
        this.#ram.restore();
        this.children = tasks.map(() => []);
        this.#cpus = [];
        this.store.reset();
        this.#hasOwn.length = 0;
        return this;
      },
      mayRemain: [],
      describe: () => this.harness.describe(),
      check: () => {
        const accounting = this.harness.accounting();
        if (accounting !== this.#accountingAtEnd)
          bug(`The accounting does not balance: ${accounting}, must be ${this.#accountingAtEnd}`);
      },
    });
  }

  /** The device that the task uses: its own if it has registered it, else that of the set-up. */
  deviceOf(task: number): HarnessDevice {
    return (this.#hasOwn[task] === true ? this.#own[task] : undefined) ?? this.device;
  }

  /** The accesses of the task's thread to an address space. */
  cpuOf(task: number, mm: Mm): HarnessCpu {
    if (mm.at !== this.harness.mm.at) return new HarnessCpu(this.harness, mm);
    return (this.#cpus[task] ??= new HarnessCpu(this.harness));
  }

  /** A block of 2 MiB of which a page may be huge. Nothing of it is present. */
  #mapBlock(): void {
    const { harness } = this;
    harness.map(BLOCK_PAGE, HUGE_PAGES);
    const [address, lengthBytes] = [BLOCK_PAGE * PAGE_BYTES, HUGE_PAGES * PAGE_BYTES];
    const errno = harness.run(
      doMadvise(harness.machine, harness.mm, address, lengthBytes, MADV_HUGEPAGE),
    );
    if (errno !== 0) bug(`No block: ${errnoName(errno)}`);
  }

  /** Registers the task's own device. Nothing happens if it is. */
  *register(task: number): Task<Errno> {
    const own = this.#own[task];
    if (own === undefined || this.#hasOwn[task] === true) return 0;
    const errno = yield* own.register();
    this.#hasOwn[task] = errno === 0;
    return errno;
  }

  /** Unregisters it again. Nothing happens if it is not registered. */
  *unregister(task: number): Task<void> {
    if (this.#hasOwn[task] !== true) return;
    const { mirror, record } = this.deviceOf(task);
    yield* hmmMirrorUnregister(mirror);
    mirror.init(record.mirror.opsId); // it may be registered anew
    this.#hasOwn[task] = false;
  }

  /**
   * Throws if the device can reach what the page table does not say. Takes the driver lock, under
   * which that must never be so.
   */
  *requireCoherent(device: HarnessDevice): Task<void> {
    yield* device.driverLock.lock();
    this.#compare(device);
    yield* device.driverLock.unlock();
  }

  #compare(device: HarnessDevice): void {
    device.requireCoherent();
    for (let page = HARNESS_PAGE; page < HARNESS_PAGE + HARNESS_TABLE_PAGES; page++) {
      const entry = device.record.table.get(page - HARNESS_PAGE);
      if (entry === 0 || !entryIsWritable(entry, DEFAULT_ENCODING)) continue;
      if ((this.harness.entryOf(page) & PTE_WRITE) === 0)
        bug(`The device may write page ${page}, which is read-only`);
    }
  }

  /**
   * A task gives back what it has, and its user of the address space; with the last one the address
   * space goes.
   */
  *end(task: number): Task<void> {
    const { machine, mm } = this.harness;
    for (const child of (this.children[task] ?? []).splice(0))
      yield* mmput(machine, Mm.at(machine.memory, child));
    yield* this.requireCoherent(this.deviceOf(task));
    yield* this.unregister(task);
    yield* mmput(machine, mm);
    yield* dropClaim(machine, this.cache);
  }
}

function* runTask(
  stage: FuzzStage,
  task: number,
  calls: readonly FuzzCall[],
  operations: OperationTable,
): Task<void> {
  const { mm } = stage.harness;
  const results: number[] = [];
  for (const call of calls) {
    const operation = operations[call.op];
    const base =
      call.huge === true ? BLOCK_PAGE : (pageOfResult(results[call.from ?? -1]) ?? HARNESS_PAGE);
    const isWhole = call.huge === true && call.whole === true;
    const placed: PlacedCall = {
      task,
      call,
      startPage: base + (isWhole ? 0 : (call.page ?? 0)),
      pages: isWhole ? HUGE_PAGES : (call.pages ?? 1),
    };
    const child = call.child === true ? stage.children[task]?.at(-1) : undefined;
    stage.watcher?.callBegan(task, call.op);
    const target = child === undefined ? mm : Mm.at(mm.memory, child);
    const result = yield* call.op === "exit-child"
      ? exitChild(stage, task, operation)
      : operation.perform(stage, target, placed);
    stage.watcher?.callEnded(task, call.op, result);
    if (call.op === "fork" && result > 0) stage.children[task]?.push(result);
    if (result < 0 && !operation.answers.includes(result)) {
      bug(`${call.op} answers ${errnoName(result)}, which its documentation does not allow`);
    }
    results.push(result);
  }
  yield* stage.end(task);
}

/** The youngest child exits; if there is none, nothing happens. */
function* exitChild(stage: FuzzStage, task: number, operation: Operation): Task<number> {
  const child = stage.children[task]?.pop();
  if (child === undefined) return 0;
  return yield* operation.perform(stage, Mm.at(stage.harness.machine.memory, child), {
    task,
    call: { op: "exit-child" },
    startPage: 0,
    pages: 0,
  });
}

/** Results are addresses where the call gave one; anything else is no place to count from. */
function pageOfResult(result: number | undefined): number | undefined {
  if (result === undefined || result < PAGE_BYTES || result % PAGE_BYTES !== 0) return undefined;
  return result / PAGE_BYTES;
}
