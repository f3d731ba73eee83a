/**
 * Listeners: who is called when, what a refusal leaves behind, and what unregister and exit
 * promise. Two threads of control are two async tasks of this thread; a gate holds one of them
 * inside a call-back while the other tries to get past it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import {
  type Struct,
  type StructView,
  embed,
  struct,
  u32,
} from "../../src/memory/layout/struct.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { mmCreate, mmdrop, mmget, mmgetNotZero, mmgrab, mmput } from "../../src/mm/lifetime/mm.ts";
import { MAP_ANYWHERE, doMmap } from "../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { zapNonBlocking } from "../../src/mm/entries/zap.ts";
import { EVENT_CLEAR, type InvalidateRange, invalidateRange } from "../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierRegister,
  mmuNotifierUnregister,
  registerNotifierOps,
} from "../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../src/notifier/subscriptions.ts";
import { Completion } from "../../src/sync/primitives/completion.ts";
import { EAGAIN } from "../../src/sync/errno.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

const PAGE = 4096;

interface Listener extends StructView {
  readonly notifier: MmuNotifier;
  readonly gate: Completion;
  number: number;
  refuses: number;
  isGated: number;
}
const Listener: Struct<Listener> = struct<Listener>("testListener", {
  notifier: embed(MmuNotifier, "first field"),
  gate: embed(Completion, "opened by the test"),
  number: u32("const", "which one it is, in the log"),
  refuses: u32("const", "1: answers EAGAIN to a start that may not block"),
  isGated: u32("const", "1: its start waits for the gate"),
});

/** What was called, in order; of all tests' listeners, so each test empties it. */
let log: string[] = [];

const OPS = registerNotifierOps("test listener", {
  *invalidateRangeStart(machine: Machine, at: number, range: InvalidateRange): Task<number> {
    const listener = Listener.at(machine.memory, at);
    if (listener.refuses === 1 && !range.blockable) return EAGAIN;
    log.push(`start ${listener.number}`);
    if (listener.isGated === 1) {
      yield* listener.gate.wait(Infinity);
      log.push(`past the gate ${listener.number}`);
    }
    return 0;
  },
  *invalidateRangeEnd(machine: Machine, at: number): Task<void> {
    log.push(`end ${Listener.at(machine.memory, at).number}`);
  },
  *release(machine: Machine, at: number): Task<void> {
    log.push(`release ${Listener.at(machine.memory, at).number}`);
  },
});

class World {
  readonly machine: Machine = Machine.create({
    ramBytes: 64 * PAGE,
    heapBytes: 4 << 20,
    debug: true,
  });
  readonly mm: Mm;

  constructor() {
    this.mm = Mm.at(this.machine.memory, this.run(mmCreate(this.machine)));
    log = [];
  }

  run<T>(task: Task<T>): T {
    return runBlocking(this.machine.memory, task);
  }

  listen(number: number, options: { refuses?: boolean; isGated?: boolean } = {}): Listener {
    const { machine, mm } = this;
    const listener = Listener.at(machine.memory, this.run(machine.heap.alloc(Listener)));
    listener.gate.init();
    listener.number = number;
    listener.refuses = options.refuses === true ? 1 : 0;
    listener.isGated = options.isGated === true ? 1 : 0;
    this.run(
      (function* (): Task<void> {
        yield* mm.mmapLock.downWrite();
        yield* mmgrab(mm);
        yield* mmuNotifierRegister(machine, mm.notifiers, listener.notifier, OPS);
        yield* mm.mmapLock.upWrite();
      })(),
    );
    return listener;
  }

  *unlisten(listener: Listener): Task<void> {
    yield* mmuNotifierUnregister(this.machine, this.mm.notifiers, listener.notifier);
    yield* mmdrop(this.machine, this.mm);
    log.push(`unregistered ${listener.number}`);
  }

  *invalidate(blockable: boolean): Task<number> {
    const range = invalidateRange(this.mm, 100, 200, EVENT_CLEAR, { blockable });
    const answer = yield* mmuNotifierInvalidateRangeStart(this.machine, range);
    if (answer === 0) yield* mmuNotifierInvalidateRangeEnd(this.machine, range);
    return answer;
  }
}

test("every listener hears a start and its end", () => {
  const world = new World();
  world.listen(1);
  world.listen(2);
  assert.equal(world.run(world.invalidate(true)), 0);
  assert.deepEqual(log, ["start 2", "start 1", "end 2", "end 1"]);
});

test("when one of several refuses, those that had agreed get their end, and nobody else does", () => {
  const world = new World();
  world.listen(1); // asked after the one that refuses
  world.listen(2, { refuses: true });
  world.listen(3);
  assert.equal(world.run(world.invalidate(false)), EAGAIN);
  assert.deepEqual(log, ["start 3", "end 3"]);
  log = [];
  assert.equal(world.run(world.invalidate(true)), 0, "it refuses only where it may not wait");
  assert.deepEqual(log.toSorted(), ["end 1", "end 2", "end 3", "start 1", "start 2", "start 3"]);
});

test("a refused non-blockable zap leaves every page where it was (twin: without the refusal they go)", () => {
  for (const refuses of [true, false]) {
    const world = new World();
    const { machine, mm } = world;
    const request = {
      lengthBytes: 4 * PAGE,
      address: 0,
      placement: MAP_ANYWHERE,
      protection: VM_READ | VM_WRITE,
      shared: false,
      bufferPfn: 0,
      offsetPages: 0,
    };
    const page = world.run(doMmap(machine, mm, request)) / PAGE;
    for (let i = 0; i < 4; i++) world.run(cpuFault(machine, mm, page + i, true));
    world.listen(1, { refuses });
    const answer = world.run(
      (function* (): Task<number> {
        yield* mm.mmapLock.downRead();
        const result = yield* zapNonBlocking(machine, mm, page, page + 4);
        yield* mm.mmapLock.upRead();
        return result;
      })(),
    );
    assert.equal(answer, refuses ? EAGAIN : 0);
    assert.equal(machine.ram.usage().usedPages, refuses ? 4 : 0);
    assert.equal(world.run(doMunmap(machine, mm, page * PAGE, 4 * PAGE)), 0);
    assert.equal(machine.ram.usage().usedPages, 0);
  }
});

test("unregister returns only when no call-back of the listener runs, and none runs after", async () => {
  const world = new World();
  const listener = world.listen(1, { isGated: true });
  const invalidation = runAsync(world.machine.memory, world.invalidate(true));
  assert.deepEqual(log, ["start 1"]);
  const gone = runAsync(world.machine.memory, world.unlisten(listener));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(!log.includes("unregistered 1"), "it must wait for the call-back");
  world.run(listener.gate.complete());
  await Promise.all([invalidation, gone]);
  assert.ok(log.indexOf("past the gate 1") < log.indexOf("unregistered 1"), log.join(", "));
  log = [];
  assert.equal(world.run(world.invalidate(true)), 0);
  assert.deepEqual(log, []);
});

test("release runs once, whether exit or unregister comes first", async () => {
  const byExit = new World();
  const first = byExit.listen(1);
  byExit.run(mmput(byExit.machine, byExit.mm));
  assert.deepEqual(log, ["release 1"]);
  byExit.run(byExit.unlisten(first));
  assert.deepEqual(log, ["release 1", "unregistered 1"]);

  const byUnregister = new World();
  const second = byUnregister.listen(2);
  byUnregister.run(byUnregister.unlisten(second));
  byUnregister.run(mmput(byUnregister.machine, byUnregister.mm));
  assert.deepEqual(log, ["release 2", "unregistered 2"]);

  const both = new World();
  const third = both.listen(3);
  await Promise.all([
    runAsync(both.machine.memory, mmput(both.machine, both.mm)),
    runAsync(both.machine.memory, both.unlisten(third)),
  ]);
  assert.deepEqual(
    log.filter((line) => line === "release 3"),
    ["release 3"],
  );
});

test("an address space whose exit has begun gives no user again; a grab keeps its struct readable", () => {
  const world = new World();
  const { machine, mm } = world;
  world.run(mmgrab(mm));
  world.run(mmget(mm));
  world.run(mmput(machine, mm));
  assert.equal(world.run(mmgetNotZero(mm)), true, "one user was left");
  world.run(mmput(machine, mm));
  world.run(mmput(machine, mm));
  assert.equal(world.run(mmgetNotZero(mm)), false);
  assert.equal(Mm.at(machine.memory, mm.at).pgd, 0);
  world.run(mmdrop(machine, mm));
  assert.throws(() => Mm.at(machine.memory, mm.at), /freed|not/);
});

test("dropping a user while a lock is held is refused, last or not", () => {
  const world = new World();
  const { machine, mm } = world;
  assert.throws(
    () =>
      world.run(
        (function* (): Task<void> {
          yield* mmget(mm);
          yield* mm.mmapLock.downWrite();
          yield* mmput(machine, mm);
        })(),
      ),
    /mmput while holding mmapLock/,
  );
});
