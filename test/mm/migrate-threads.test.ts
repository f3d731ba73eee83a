/**
 * Several threads on one space, in a random order of their steps: loads, stores, migrations both
 * ways, exclusive access, evictions, pins, views, forks, protection, discards and moves of
 * mappings, with RAM and a device's memory that are too small. The model knows only bytes. Each
 * thread has a word of its own in the pages that all use, and a page that it alone changes; what it
 * has stored there last must be there, whatever the others do to the pages.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEVICE_COHERENT, DEVICE_PRIVATE } from "../../src/memory/frames/device-frames.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../src/mm/calls/mmap.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../src/mm/calls/mremap.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../src/mm/lifetime/fork.ts";
import { mmget, mmput } from "../../src/mm/lifetime/mm.ts";
import { evictDeviceFrame } from "../../src/mm/migrate/device-evict.ts";
import { makeDeviceExclusive } from "../../src/mm/migrate/exclusive.ts";
import {
  SELECT_DEVICE,
  SELECT_SYSTEM,
  migrateRange,
  toRam,
} from "../../src/mm/migrate/migrate-vma.ts";
import type { PageMover } from "../../src/mm/migrate/migrate-vma.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_DEVICE_PRIVATE,
  NON_PRESENT_WRITE,
  PTE_PRESENT,
  PTE_WRITE,
  pteKind,
} from "../../src/mm/pte.ts";
import { pinUserPages, unpinUserPages } from "../../src/mm/view/pin.ts";
import { ViewHold } from "../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { VM_READ, vmaOf } from "../../src/mm/vma/vma.ts";
import { EBUSY, EFAULT, EINVAL, ENOMEM, EPERM } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { Interleaver } from "../hmm/interleaver.ts";
import { OWNER, PAGE, RW, World, reading } from "./migrate-world.ts";
import { fractionsOf } from "../dice.ts";

const THREADS = 3;
const SHARED_PAGES = 3;
const OPERATIONS = 14;
const RUNS = 50;
/** Where a thread's own mapping is moved to: far from the others'. */
const FAR = 4096;

type Operation = (thread: TestThread) => Task<unknown>;

/** One thread, and what must be in its words. */
class TestThread {
  readonly world: World;
  readonly id: number;
  readonly shared: number;
  /** Its own page, which mremap moves. */
  own: number;
  /** What it has stored in each shared page, and last in its own. */
  readonly values: number[] = Array.from({ length: SHARED_PAGES + 1 }, () => 0);
  readonly random: () => number;
  #next = 1;

  constructor(world: World, id: number, shared: number, own: number, seed: number) {
    this.world = world;
    this.id = id;
    this.shared = shared;
    this.own = own;
    this.random = fractionsOf(seed * THREADS + id);
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  pageOf(i: number): number {
    return i < SHARED_PAGES ? this.shared + i : this.own;
  }

  /** The thread's word of a frame. */
  words(pte: number): Int32Array {
    return this.world.data(pte).subarray(this.id, this.id + 1);
  }

  fresh(): number {
    return this.id * 1_000_000 + this.#next++;
  }

  expect(i: number, value: number | undefined, how: string): void {
    assert.equal(value, this.values[i], `thread ${this.id}, page ${i}, ${how}`);
  }

  *run(): Task<void> {
    const operations = Object.values(OPERATIONS_BY_NAME);
    for (let count = 0; count < OPERATIONS; count++) {
      const operation = operations[this.below(operations.length)];
      if (operation !== undefined) yield* operation(this);
    }
    for (let i = 0; i <= SHARED_PAGES; i++) yield* load(this, i);
    yield* mmput(this.world.machine, this.world.mm);
  }
}

/** The entry, once it allows the access; or an errno. The caller uses it before its next step. */
function* reach(thread: TestThread, i: number, isWrite: boolean, mm?: Mm): Task<number> {
  const { world } = thread;
  const wanted = isWrite ? PTE_PRESENT | PTE_WRITE : PTE_PRESENT;
  for (;;) {
    const page = thread.pageOf(i);
    if ((world.pte(page, mm) & wanted) === wanted) return world.pte(page, mm);
    const answer = yield* cpuFault(world.machine, mm ?? world.mm, page, isWrite);
    // The page of a device has no frame to come back to; or the pages are read-only just now.
    if (answer === ENOMEM || (answer === EFAULT && isWrite)) return answer;
    assert.equal(answer, 0, `an access of page ${i} was refused`);
  }
}

function* load(thread: TestThread, i: number, mm?: Mm): Task<void> {
  const pte = yield* reach(thread, i, false, mm);
  if (pte > 0) thread.expect(i, thread.words(pte)[0], "load");
}

function* store(thread: TestThread, i: number): Task<void> {
  const pte = yield* reach(thread, i, true);
  if (pte > 0) thread.words(pte)[0] = thread.values[i] = thread.fresh();
}

function anyPage(thread: TestThread): number {
  return thread.below(SHARED_PAGES + 1);
}

function move(select: number, makeMover: (world: World) => PageMover): Operation {
  return (thread) => {
    const { machine, mm } = thread.world;
    const startPage = thread.pageOf(anyPage(thread));
    return reading(mm, function* () {
      const vma = vmaOf(machine.memory, mm, startPage);
      if (vma === undefined) return;
      const endPage = Math.min(startPage + 1 + thread.below(SHARED_PAGES), vma.endPage);
      const args = { machine, mm, vma, startPage, endPage, select, owner: OWNER };
      yield* migrateRange(args, makeMover(thread.world));
    });
  };
}

const OPERATIONS_BY_NAME: Readonly<Record<string, Operation>> = {
  load: (thread) => load(thread, anyPage(thread)),
  store: (thread) => store(thread, anyPage(thread)),
  storeAgain: (thread) => store(thread, anyPage(thread)),
  toDevice: move(SELECT_SYSTEM, (world) => world.mover()),
  toRam: move(SELECT_DEVICE, ({ machine }) => toRam(machine)),
  *deviceStore(thread) {
    const i = anyPage(thread);
    const pte = thread.world.pte(thread.pageOf(i));
    const kind = pteKind(pte);
    const mayWrite =
      kind === KIND_DEVICE_EXCLUSIVE ||
      (kind === KIND_DEVICE_PRIVATE && (pte & NON_PRESENT_WRITE) !== 0);
    if (mayWrite) thread.words(pte)[0] = thread.values[i] = thread.fresh();
  },
  *exclusive(thread) {
    const { machine, mm } = thread.world;
    const startPage = thread.pageOf(anyPage(thread));
    const range = { startPage, endPage: startPage + 1 };
    const answer = yield* reading(mm, () =>
      makeDeviceExclusive(machine, mm, range, { owner: OWNER, range: 0 }),
    );
    assert.ok([0, EBUSY, ENOMEM, EPERM].includes(answer), `exclusive answered ${answer}`);
  },
  evict: (thread) => {
    const { machine, device } = thread.world;
    return evictDeviceFrame(machine, device, device.basePfn + thread.below(device.pages));
  },
  *pin(thread) {
    const { machine, mm } = thread.world;
    const i = anyPage(thread);
    const page = thread.pageOf(i);
    const options = { write: true, longTerm: thread.below(2) === 0 };
    const pinned = yield* pinUserPages(machine, mm, page, page + 1, options);
    if (typeof pinned === "number") {
      assert.ok([EBUSY, EFAULT, ENOMEM].includes(pinned), `the pin answered ${pinned}`);
      return;
    }
    const pfn = pinned.pfns[0] ?? 0;
    const words = thread.words(pfn << 8);
    thread.expect(i, words[0], "pin");
    words[0] = thread.values[i] = thread.fresh();
    // Time for others to move it, were it not pinned.
    for (let round = 0; round < 8; round++) yield* load(thread, round % SHARED_PAGES);
    for (let round = 0; round < 8; round++) {
      yield* mm.mmapLock.downRead();
      yield* mm.mmapLock.upRead();
    }
    words[0] = thread.values[i] = thread.fresh();
    yield* load(thread, i);
    yield* unpinUserPages(machine, pinned);
  },
  *view(thread) {
    const { machine, mm } = thread.world;
    const i = anyPage(thread);
    const page = thread.pageOf(i);
    const at = yield* viewOpen(machine, mm, page, page + 1, true);
    if (at < 0) {
      assert.ok([EBUSY, EFAULT, ENOMEM].includes(at), `the view answered ${at}`);
      return;
    }
    const words = thread.words(ViewHold.at(machine.memory, at).pfn << 8);
    thread.expect(i, words[0], "view");
    words[0] = thread.values[i] = thread.fresh();
    yield* viewClose(machine, at);
  },
  *fork(thread) {
    const { machine, mm } = thread.world;
    const at = yield* doFork(machine, mm);
    if (at < 0) return;
    const child = Mm.at(machine.memory, at);
    const i = anyPage(thread);
    yield* load(thread, i, child);
    yield* store(thread, i); // the child does not see it
    const before = thread.values[i];
    const pte = yield* reach(thread, i, true, child);
    if (pte > 0) thread.words(pte)[0] = -1;
    thread.values[i] = before ?? 0;
    yield* mmput(machine, child);
  },
  *protect(thread) {
    const { machine, mm } = thread.world;
    const place = [thread.shared * PAGE, SHARED_PAGES * PAGE] as const;
    yield* doMprotect(machine, mm, ...place, VM_READ);
    yield* load(thread, thread.below(SHARED_PAGES));
    yield* doMprotect(machine, mm, ...place, RW);
  },
  *discard(thread) {
    const { machine, mm } = thread.world;
    const answer = yield* doMadvise(machine, mm, thread.own * PAGE, PAGE, MADV_DONTNEED);
    assert.equal(answer, 0);
    thread.values[SHARED_PAGES] = 0;
  },
  *remap(thread) {
    const { machine, mm } = thread.world;
    const to = FAR * (thread.id + 1) + thread.below(100);
    const sizes = { oldLengthBytes: PAGE, newLengthBytes: PAGE, mayMove: true, to: to * PAGE };
    const answer = yield* doMremap(machine, mm, { address: thread.own * PAGE, ...sizes });
    assert.ok([to * PAGE, EINVAL, ENOMEM].includes(answer), `mremap answered ${answer}`);
    if (answer > 0) thread.own = to;
  },
  *mapAnew(thread) {
    const { machine, mm } = thread.world;
    const address = thread.own * PAGE;
    if ((yield* doMunmap(machine, mm, address, PAGE)) !== 0) return;
    const place = { address, lengthBytes: PAGE, placement: MAP_FIXED_NOREPLACE, protection: RW };
    const kind = { shared: false, bufferPfn: 0, offsetPages: 0 };
    assert.equal(yield* doMmap(machine, mm, { ...place, ...kind }), address);
    thread.values[SHARED_PAGES] = 0;
  },
};

function runOnce(type: typeof DEVICE_PRIVATE | typeof DEVICE_COHERENT, seed: number): void {
  const world = new World(type, 20, 4);
  const { machine, mm } = world;
  const shared = world.map(SHARED_PAGES);
  const interleaver = new Interleaver(machine.memory, seed, true);
  for (let id = 0; id < THREADS; id++) {
    world.run(mmget(mm));
    const thread = new TestThread(world, id, shared, world.map(1), seed);
    interleaver.spawn(`thread ${id}`, thread.run());
  }
  interleaver.run();
  world.end();
}

for (const [name, type] of [
  ["private", DEVICE_PRIVATE],
  ["coherent", DEVICE_COHERENT],
] as const) {
  test(`${name}: three threads at random: what each has stored last is there, and no frame is lost`, () => {
    const given = process.env["HMM_SEED"];
    const first = Number(given ?? Date.now() % 2 ** 31);
    const runs = given === undefined ? RUNS : 1;
    for (let seed = first; seed < first + runs; seed++) {
      try {
        runOnce(type, seed);
      } catch (error) {
        const again = `HMM_SEED=${seed} node --test .build/test/mm/migrate-threads.test.js`;
        throw new Error(
          `${name}: ${error instanceof Error ? error.stack : String(error)}\n${again}`,
          {
            cause: error,
          },
        );
      }
    }
  });
}
