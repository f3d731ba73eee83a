/**
 * @module Memory that runs out at every point: each allocation of the kernel heap fails once while
 * a device is made, faults, is read, written and looked at. The answer is a clear error, nothing is
 * left behind, and the same works when there is memory again. And invalidations that may not wait.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceFault } from "../../src/devices/device-fault.ts";
import { type AddressSpace, HmmError, SoftwareDevice } from "../../src/index.ts";
import type { StructInfo } from "../../src/memory/layout/struct.ts";
import { zapNonBlocking } from "../../src/mm/entries/zap.ts";
import { EAGAIN } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { PAGE, PlayedDevice, accountingOf, makeSpace, stampPages, withSpace } from "./harness.ts";
import { inside } from "../inside.ts";

/**
 * Makes the n-th allocation of the kernel heap from now on fail (counted from 0), and counts them.
 */
class Scarcity {
  count = 0;
  #failing = -1;

  constructor(space: AddressSpace) {
    const {
      machine: { heap },
    } = inside(space);
    const alloc = heap.alloc.bind(heap);
    const allocWords = heap.allocWords.bind(heap);
    heap.alloc = (info: StructInfo, kind?: number): Task<number> =>
      this.#unless(() => alloc(info, kind));
    heap.allocWords = (words: number, note?: number): Task<number> =>
      this.#unless(() => allocWords(words, note));
  }

  *#unless(allocate: () => Task<number>): Task<number> {
    return this.count++ === this.#failing ? 0 : yield* allocate();
  }

  failAt(index: number): void {
    this.count = 0;
    this.#failing = index;
  }
}

test("making a device, at each of its allocations in this thread", async () => {
  const space = makeSpace();
  const scarcity = new Scarcity(space);
  const make = (): Promise<SoftwareDevice> =>
    SoftwareDevice.create(space, { memoryBytes: 5000 * PAGE, threads: 1 });
  // What is made once and stays: the directory of drivers, slabs.
  await (await make())[Symbol.asyncDispose]();
  const before = accountingOf(space);
  let failures = 0;
  for (let index = 0; ; index++) {
    scarcity.failAt(index);
    const outcome = await make().catch((error: unknown) => error);
    const asked = scarcity.count;
    scarcity.failAt(-1);
    if (outcome instanceof SoftwareDevice) {
      await outcome[Symbol.asyncDispose]();
      assert.equal(accountingOf(space), before);
      if (asked <= index) break;
      assert.fail(`allocation ${index} failed, and nobody minded`);
    }
    assert.ok(outcome instanceof HmmError, String(outcome));
    assert.equal(outcome.code, "ENOMEM");
    assert.match(outcome.message, /^Cannot make the device: .+; .+/);
    assert.equal(accountingOf(space), before, `after allocation ${index} failed`);
    failures++;
  }
  assert.ok(
    failures >= 6,
    `${failures}: record, thrash table, page table, two blocks of frames, ring, hmm, range`,
  );
  await space.dispose();
});

test("a load, a store and an atomic, at each allocation of their faults", () =>
  withSpace((space) => {
    const scarcity = new Scarcity(space);
    let failures = 0;
    for (let index = 0; index < 8; index++) {
      // Each round in a 4 GiB of its own, where there are no tables yet.
      const data = space.mmapSync(2 * PAGE, { address: (index + 2) * 2 ** 32, fixed: "noreplace" });
      space.u32.store(data, 40);
      const device = new PlayedDevice(space, { frames: 4 });
      const touch = (): Error | undefined =>
        device.tryRun(
          (memory) => {
            memory.u32.atomicAdd(data + PAGE, memory.u32.load(data));
          },
          1,
          [],
          false, // a replay would find memory again
        );
      scarcity.failAt(index);
      const failure = touch();
      scarcity.failAt(-1);
      if (failure !== undefined) {
        failures++;
        assert.ok(failure instanceof DeviceFault, String(failure));
        assert.equal(failure.code, "ENOMEM");
        assert.equal(space.u32.load(data + PAGE), 0, "the item had no effect");
        assert.equal(touch(), undefined, "there is memory again");
      }
      assert.equal(space.u32.load(data + PAGE), 40);
      device.close();
    }
    assert.ok(failures >= 2, `${failures}: the device's middle table and its leaf`);
  }));

test("commands, at each of their allocations", async () => {
  const space = makeSpace();
  const scarcity = new Scarcity(space);
  await using device = await SoftwareDevice.create(space, { memoryBytes: 4 * PAGE });
  let failures = 0;
  for (let index = 0; index < 6; index++) {
    const data = space.mmapSync(2 * PAGE, { address: (index + 2) * 2 ** 32, fixed: "noreplace" });
    stampPages(space, data, 2, 9);
    for (const command of ["snapshot", "read", "write"] as const) {
      const bytes = new Uint8Array(PAGE).fill(3);
      const run = (): Promise<unknown> =>
        command === "snapshot" ? device.snapshot(data, 2 * PAGE) : device[command](data, bytes);
      scarcity.failAt(index);
      const outcome: unknown = await run().catch((error: unknown) => error);
      scarcity.failAt(-1);
      if (outcome instanceof Error) {
        failures++;
        assert.ok(outcome instanceof DeviceFault, String(outcome));
        assert.equal(outcome.code, "ENOMEM");
        await run();
      }
    }
    assert.equal(space.u32.load(data), 0x03030303);
  }
  assert.ok(failures >= 3, String(failures));
});

test("an invalidation that may not wait is refused with EAGAIN while somebody has the driver lock, and has touched nothing", () =>
  withSpace(
    (space) => {
      const { machine, mm } = inside(space);
      const data = space.mmapSync(2 * PAGE);
      stampPages(space, data, 2, 5);
      const device = new PlayedDevice(space, { frames: 4 });
      device.load(data);
      const { invalidations, dropped } = device.stats;
      const { driverLock } = device.record;
      const reap = function* (): Task<number> {
        yield* mm.mmapLock.downRead();
        const answer = yield* zapNonBlocking(machine, mm, data / PAGE, data / PAGE + 1);
        yield* mm.mmapLock.upRead();
        return answer;
      };
      const reapWhileLocked = function* (): Task<number> {
        yield* driverLock.lock();
        const answer = yield* reap();
        yield* driverLock.unlock();
        return answer;
      };
      assert.equal(inside(space).runSync(reapWhileLocked()), EAGAIN);
      assert.deepEqual(
        [device.stats.invalidations, device.stats.dropped],
        [invalidations, dropped],
      );
      assert.equal(device.entry(data), "local");
      assert.equal(device.load(data), 5);
      assert.equal(inside(space).runSync(reap()), 0);
      assert.equal(device.entry(data), "");
      assert.equal(device.load(data), 0, "reaped");
      device.close();
    },
    // The same thread plays both sides, in an order that lockdep would rightly refuse.
    { debug: false },
  ));
