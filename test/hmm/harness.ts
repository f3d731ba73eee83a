/**
 * @module The harness of the hmm tests: a machine with one address space, and a fake device. Its
 * driver has a table of translations under a lock of its own, clears it in `invalidate`, and can be
 * made to misbehave.
 */

import assert from "node:assert/strict";
import { HmmMirror, HmmMirrorRecord } from "../../src/hmm/mirror-record.ts";
import {
  hmmMirrorForget,
  hmmMirrorRegister,
  hmmMirrorUnregister,
} from "../../src/hmm/mirror/mirror.ts";
import { registerMirrorOps } from "../../src/hmm/mirror/mirror-ops.ts";
import {
  type HmmRange,
  type HmmRangeOptions,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
} from "../../src/hmm/range/range.ts";
import { hmmRangeValid } from "../../src/hmm/range/valid.ts";
import { Machine } from "../../src/memory/machine.ts";
import {
  type Struct,
  type StructView,
  embed,
  embedStruct,
  struct,
} from "../../src/memory/layout/struct.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { mmCreate, mmput } from "../../src/mm/lifetime/mm.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../src/mm/calls/mmap.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import type { InvalidateRange } from "../../src/notifier/events.ts";
import { notifierSrcu } from "../../src/notifier/mmu-notifier.ts";
import { Completion } from "../../src/sync/primitives/completion.ts";
import { EAGAIN, type Errno, errnoName } from "../../src/sync/errno.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

const MiB = 2 ** 20;

export interface HarnessOptions {
  readonly ramBytes?: number;
  readonly heapBytes?: number;
  readonly debug?: boolean;
}

/** A machine with one address space, used by the thread that made it. */
export class Harness {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly #before: string;
  #isAlive = true;

  constructor({ ramBytes = 16 * MiB, heapBytes = 8 * MiB, debug = true }: HarnessOptions = {}) {
    this.machine = Machine.create({ ramBytes, heapBytes, debug, name: "hmm test" });
    this.run(notifierSrcu(this.machine));
    this.#before = this.#accounting();
    const at = this.run(mmCreate(this.machine));
    assert.notEqual(at, 0);
    this.mm = Mm.at(this.machine.memory, at);
  }

  run<T>(task: Task<T>): T {
    return runBlocking(this.machine.memory, task);
  }

  /** Maps `pages` pages at page number `startPage`, readable and writable by default. */
  map(
    startPage: number,
    pages: number,
    protection: number = VM_READ | VM_WRITE,
    shared = false,
  ): void {
    const address = this.run(
      doMmap(this.machine, this.mm, {
        lengthBytes: pages * PAGE_BYTES,
        address: startPage * PAGE_BYTES,
        placement: MAP_FIXED_NOREPLACE,
        protection,
        shared,
        bufferPfn: 0,
        offsetPages: 0,
      }),
    );
    assert.equal(address, startPage * PAGE_BYTES);
  }

  /** Makes pages present, as a CPU access would. */
  touch(startPage: number, pages: number, isWrite = true): void {
    for (let page = startPage; page < startPage + pages; page++) {
      assert.equal(this.run(cpuFault(this.machine, this.mm, page, isWrite)), 0);
    }
  }

  range(options: Partial<HmmRangeOptions> & { readonly pages?: number } = {}): HmmRange {
    const { pages = 64, ...rest } = options;
    return mustHave(
      this.run(hmmRangeAlloc(this.machine, { pfns: new Uint32Array(pages), ...rest })),
    );
  }

  /** A range that is registered on `device` over pages. */
  registered(
    device: FakeDevice,
    startPage: number,
    pages: number,
    options: Partial<HmmRangeOptions> = {},
  ): HmmRange {
    const range = this.range({ pages, ...options });
    this.must(
      hmmRangeRegister(
        range,
        device.mirror,
        startPage * PAGE_BYTES,
        (startPage + pages) * PAGE_BYTES,
      ),
    );
    return range;
  }

  freeRange(range: HmmRange): void {
    this.run(hmmRangeFree(range));
  }

  /** Runs a task that must return 0. */
  must(task: Task<number>): void {
    assert.equal(errnoName(this.run(task)), errnoName(0));
  }

  /** Runs `task` holding the mmap lock for reading. */
  reading<T>(task: () => Task<T>): T {
    return this.run(withMmapRead(this.mm, task));
  }

  /** As `freeRange`, for a task. */
  freeing(range: HmmRange): Task<void> {
    return hmmRangeFree(range);
  }

  /** As `end`, for a task. */
  exit(): Task<void> {
    this.#isAlive = false;
    return mmput(this.machine, this.mm);
  }

  /** Ends the address space; `leave` says that nothing is left of anything. */
  end(): void {
    if (this.#isAlive) this.run(this.exit());
  }

  /**
   * Ends everything, waits for deferred frees, and compares the accounting with those of an empty
   * machine.
   */
  leave(): void {
    this.end();
    const srcu = this.run(notifierSrcu(this.machine));
    this.run(srcu.barrier());
    assert.equal(this.#accounting(), this.#before);
    this.machine.detach();
  }

  /** What is allocated, but for what the machine keeps for itself. */
  #accounting(): string {
    const { heap, ram } = this.machine;
    const accounts = heap.accounting().filter(({ name }) => name !== "mirrorOpsDirectory");
    return JSON.stringify({ accounts, usedPages: ram.usage().usedPages });
  }
}

export function* withMmapRead<T>(mm: Mm, task: () => Task<T>): Task<T> {
  yield* mm.mmapLock.downRead();
  try {
    return yield* task();
  } finally {
    yield* mm.mmapLock.upRead();
  }
}

export function* withMmapWrite<T>(mm: Mm, task: () => Task<T>): Task<T> {
  yield* mm.mmapLock.downWrite();
  try {
    return yield* task();
  } finally {
    yield* mm.mmapLock.upWrite();
  }
}

/** The result of `hmmRangeValid`, outside any task. */
export function isValidNow(range: HmmRange): boolean {
  return runBlocking(range.machine.memory, hmmRangeValid(range));
}

export function mustHave<T extends object>(value: T | Errno): T {
  if (typeof value === "number") assert.fail(`got ${errnoName(value)}`);
  return value;
}

interface FakeDriver extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly driverLock: Mutex;
  readonly gate: Completion;
}

const FakeDriver: Struct<FakeDriver> = struct<FakeDriver>("fakeDriver", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
  driverLock: embed(Mutex, "the table of translations", "driverLock"),
  gate: embed(Completion, "for a test that holds something until this completes"),
});

/** One call-back that was called. */
export interface Called {
  readonly call: "invalidate" | "release" | "orphaned";
  readonly startPage: number;
  readonly endPage: number;
  readonly blockable: boolean;
}

const devices = new Map<number, FakeDevice>();

/** A device in this thread only: its table is a JS map from page to pfns entry. */
export class FakeDevice {
  readonly harness: Harness;
  readonly driver: FakeDriver;
  readonly mirror: HmmMirror;
  readonly table: Map<number, number> = new Map<number, number>();
  readonly calls: Called[] = [];
  /** What `invalidate` answers after it has cleared the table. */
  answer: (range: InvalidateRange) => Errno = () => 0;
  /**
   * Like a driver that cannot do anything without waiting: EAGAIN to what is not blockable, and
   * nothing swept.
   */
  refusesNonBlockable = false;
  /** Run inside `invalidate`, before the driver lock is taken. */
  onInvalidate: ((range: InvalidateRange) => Task<void>) | undefined;
  /** Run inside `release`. */
  onRelease: (() => Task<void>) | undefined;
  #isRegistered = false;
  #isFreed = false;

  constructor(harness: Harness, opsId: number = FAKE_OPS) {
    this.harness = harness;
    const at = harness.run(harness.machine.heap.alloc(FakeDriver));
    assert.notEqual(at, 0);
    this.driver = FakeDriver.at(harness.machine.memory, at);
    this.driver.driverLock.init();
    this.driver.gate.init();
    this.mirror = new HmmMirror(harness.machine, this.driver.mirror.at);
    this.mirror.init(opsId);
    devices.set(this.mirror.at, this);
  }

  /** Registers the mirror; returns the errno. */
  tryRegister(mm: Mm = this.harness.mm): Errno {
    const errno = this.harness.run(withMmapWrite(mm, () => hmmMirrorRegister(this.mirror, mm)));
    this.#isRegistered = errno === 0;
    return errno;
  }

  static registered(harness: Harness): FakeDevice {
    const device = new FakeDevice(harness);
    assert.equal(device.tryRegister(), 0);
    return device;
  }

  unregister(): void {
    this.harness.run(hmmMirrorUnregister(this.mirror));
    this.#isRegistered = false;
  }

  /** A test has unregistered the mirror itself. */
  forgetRegistration(): void {
    this.#isRegistered = false;
  }

  /** A test has registered the mirror itself. */
  noteRegistration(): void {
    this.#isRegistered = true;
  }

  /** Unregisters if need be and frees the driver's struct. */
  close(): void {
    if (this.#isRegistered) this.unregister();
    if (!this.#isFreed) this.harness.run(this.freeing());
  }

  /** Frees the driver's struct, for a task. The mirror has been unregistered. */
  *freeing(): Task<void> {
    this.#isRegistered = false;
    this.#isFreed = true;
    devices.delete(this.mirror.at);
    yield* hmmMirrorForget(this.mirror);
    yield* this.harness.machine.heap.free(FakeDriver, this.driver.at);
  }

  *sweep(range: InvalidateRange): Task<Errno> {
    const { startPage, endPage, blockable } = range;
    this.calls.push({ call: "invalidate", startPage, endPage, blockable });
    if (this.onInvalidate !== undefined) yield* this.onInvalidate(range);
    if (!blockable && this.refusesNonBlockable) return EAGAIN;
    const { driverLock } = this.driver;
    if (blockable) yield* driverLock.lock();
    else if (!(yield* driverLock.tryLock())) return this.answer(range);
    for (const page of this.table.keys())
      if (page >= startPage && page < endPage) this.table.delete(page);
    yield* driverLock.unlock();
    return this.answer(range);
  }

  *released(): Task<void> {
    this.calls.push({ call: "release", startPage: 0, endPage: 0, blockable: true });
    if (this.onRelease !== undefined) yield* this.onRelease();
    yield* this.driver.driverLock.lock();
    this.table.clear();
    yield* this.driver.driverLock.unlock();
  }

  *orphaned(): Task<void> {
    this.calls.push({ call: "orphaned", startPage: 0, endPage: 0, blockable: true });
    yield* this.driver.driverLock.lock();
    yield* this.driver.driverLock.unlock();
  }
}

function deviceOf(mirror: HmmMirror): FakeDevice {
  const device = devices.get(mirror.at);
  if (device === undefined)
    assert.fail(`a call-back reached ${String(mirror)}, whose device is closed`);
  return device;
}

/** The fake device's code. */
export const FAKE_OPS: number = registerMirrorOps("fake device", {
  invalidate: (mirror, range) => deviceOf(mirror).sweep(range),
  release: (mirror) => deviceOf(mirror).released(),
  orphaned: (mirror) => deviceOf(mirror).orphaned(),
});
