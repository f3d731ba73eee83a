/**
 * @module Work items run as if once from start to end, whatever they fault on, however small device
 * memory is; and accesses that no mapping allows end in an error that names them. In the test's own
 * thread, so that the test sees how often an item was really begun.
 */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DeviceFault, KernelFailure } from "../../src/devices/device-fault.ts";
import type { TypedAccess } from "../../src/mmu/access.ts";
import { ABANDONED } from "../../src/devices/software/device-translator.ts";
import { MIB, PAGE, PlayedDevice, stampPages, withSpace } from "./harness.ts";
import { diceOf } from "../dice.ts";

/** Pages of the data; device memory is smaller in most tests. */
const PAGES = 64;

describe("every item's effects happen once, whatever the budget", () => {
  for (const frames of [1, 2, 3, 8, 128]) {
    for (const mayReplay of [true, false]) {
      test(`${frames} frames, ${mayReplay ? "replaying" : "stalling"}`, () =>
        withSpace((space) => {
          const source = space.mmapSync(PAGES * PAGE);
          const sums = space.mmapSync(16 * PAGE);
          const counters = space.mmapSync(4 * PAGE);
          stampPages(space, source, PAGES, 1000);
          const device = new PlayedDevice(space, { frames });
          const items = 300;
          let begun = 0;
          const kernel = (memory: TypedAccess, item: number): void => {
            begun++;
            let sum = 0;
            for (let i = 0; i < 6; i++)
              sum += memory.u32.load(source + ((item * 37 + i * 11) % PAGES) * PAGE);
            memory.u32.store(sums + item * 64 * 3, sum);
            // After the first store: faults from here on stall.
            const more = memory.u32.load(source + ((item * 53) % PAGES) * PAGE);
            memory.u32.atomicAdd(counters + (item % 4) * PAGE, more);
            memory.i32.atomicSub(counters + (item % 4) * PAGE + 4, 1);
          };
          device.run(kernel, items, [], mayReplay);
          const expected = [0, 0, 0, 0];
          for (let item = 0; item < items; item++) {
            let sum = 0;
            for (let i = 0; i < 6; i++) sum += 1000 + ((item * 37 + i * 11) % PAGES);
            assert.equal(space.u32.load(sums + item * 64 * 3), sum, `item ${item}`);
            expected[item % 4]! += 1000 + ((item * 53) % PAGES);
          }
          for (let i = 0; i < 4; i++) {
            assert.equal(space.u32.load(counters + i * PAGE), expected[i]);
            assert.equal(space.i32.load(counters + i * PAGE + 4), -items / 4);
          }
          const { stats } = device;
          assert.equal(stats.items, items);
          assert.equal(begun, items + stats.replays);
          if (!mayReplay) assert.equal(stats.replays, 0);
          if (frames < PAGES) assert.ok(stats.evictions > 0);
          assert.ok(stats.residentPages <= frames, "the budget holds");
          device.close();
        }));
    }
  }
});

test("an item that has stored is never begun again: a read-modify-write of plain loads and stores stays exact", () =>
  withSpace((space) => {
    const data = space.mmapSync(PAGES * PAGE);
    const device = new PlayedDevice(space, { frames: 2 });
    const items = 200;
    // Not atomic, so a second run of the same item would show.
    device.run((memory, item) => {
      for (let i = 0; i < 5; i++) {
        const address = data + ((item * 7 + i * 13) % PAGES) * PAGE;
        memory.u32.store(address, memory.u32.load(address) + 1);
      }
    }, items);
    let total = 0;
    for (let i = 0; i < PAGES; i++) total += space.u32.load(data + i * PAGE);
    assert.equal(total, items * 5);
    device.close();
  }));

test("a kernel that catches everything is given up all the same, and has no effect after that", () =>
  withSpace((space) => {
    const data = space.mmapSync(8 * PAGE);
    const log = space.mmapSync(PAGE);
    stampPages(space, data, 8, 5);
    space.u32.store(log, 0);
    const device = new PlayedDevice(space, { frames: 8 });
    device.store(log + 8, 1);
    const caught: unknown[] = [];
    device.run((memory, item) => {
      let value = 0;
      try {
        value = memory.u32.load(data + item * PAGE);
      } catch (error) {
        caught.push(error);
        value = 1_000_000;
      }
      try {
        memory.u32.atomicAdd(log, value);
      } catch {
        // Stubborn.
      }
    }, 8);
    assert.ok(caught.length > 0);
    assert.ok(caught.every((error) => error === ABANDONED));
    assert.equal(space.u32.load(log), 5 + 6 + 7 + 8 + 9 + 10 + 11 + 12);
    device.close();
  }));

test("hot pages stay: eviction goes by use, not by the time of the fault", () =>
  withSpace((space) => {
    const data = space.mmapSync(PAGES * PAGE);
    stampPages(space, data, PAGES);
    const device = new PlayedDevice(space, { frames: 8 });
    let wasHotGone = 0;
    // Page 0 is brought first and used by every item; the others are a stream that never comes back
    // soon.
    device.run((memory, item) => {
      memory.u32.load(data);
      memory.u32.load(data + (1 + (item % (PAGES - 1))) * PAGE);
      if (item > 20 && device.entry(data) !== "local") wasHotGone++;
    }, 2000);
    const { evictions } = device.stats;
    assert.ok(evictions > 1000, "a stream that does not fit");
    assert.ok(wasHotGone * 20 < 2000, `the hot page was gone ${wasHotGone} times of 2000`);
    device.close();
  }));

test("pages around a fault are prefetched while frames are free, and evict nothing", () =>
  withSpace((space) => {
    const data = space.mmapSync(PAGES * PAGE, { address: 2 ** 32, fixed: "noreplace" });
    stampPages(space, data, PAGES);
    const device = new PlayedDevice(space, { frames: 20 });
    device.load(data + 5 * PAGE);
    assert.equal(device.stats.prefetched, 15);
    assert.equal(device.entry(data + 15 * PAGE), "local");
    assert.equal(device.entry(data + 16 * PAGE), "");
    const { batches } = device.stats;
    for (let i = 0; i < 16; i++) assert.equal(device.load(data + i * PAGE), i);
    assert.equal(device.stats.batches, batches, "all were there");
    const { evictions } = device.stats;
    device.load(data + 16 * PAGE);
    assert.equal(device.stats.prefetched, 15 + 3, "as many as were free");
    assert.equal(device.stats.evictions, evictions);
    assert.equal(device.stats.residentPages, 20);
    device.close();
  }));

test("under pressure a stream is prefetched from cold frames, and what is in use stays", () =>
  withSpace((space) => {
    const pages = 512;
    const data = space.mmapSync(pages * PAGE, { address: 2 ** 32, fixed: "noreplace" });
    stampPages(space, data, pages);
    const device = new PlayedDevice(space, { frames: 256 });
    let wasHotGone = 0;
    device.run(
      (memory, item) => {
        memory.u32.load(data);
        memory.u32.load(data + (1 + (item % (pages - 1))) * PAGE);
        if (item > 300 && device.entry(data) !== "local") wasHotGone++;
      },
      5000,
      [],
      false,
    );
    const { faults, prefetched, evictions } = device.stats;
    assert.ok(evictions > 3000, `${evictions}: all of it streams through half of it`);
    assert.ok(prefetched > 2 * faults, `${prefetched} prefetched for ${faults} faults`);
    assert.ok(wasHotGone < 50, `the hot page was gone ${wasHotGone} times`);
    device.close();
  }));

test("under pressure, prefetching that does not pay stops", () =>
  withSpace(
    (space) => {
      const pages = 512;
      const data = space.mmapSync(pages * PAGE, { address: 2 ** 32, fixed: "noreplace" });
      stampPages(space, data, pages);
      const device = new PlayedDevice(space, { frames: 128 });
      const random = diceOf(5);
      // One page of each 64 KiB: no neighbour is ever used.
      device.run(
        (memory) => void memory.u32.load(data + random(pages / 16) * 16 * PAGE),
        2000,
        [],
        false,
      );
      const before = device.stats;
      const wider = space.mmapSync(4096 * PAGE);
      stampPages(space, wider, 4096);
      device.run(
        (memory) => void memory.u32.load(wider + random(256) * 16 * PAGE),
        4000,
        [],
        false,
      );
      const faults = device.stats.faults - before.faults;
      const prefetched = device.stats.prefetched - before.prefetched;
      assert.ok(faults > 1000, String(faults));
      assert.ok(
        prefetched < faults,
        `${prefetched} prefetched for ${faults} faults, of 15 that each could have`,
      );
      device.close();
    },
    { ramBytes: 64 * MIB },
  ));

test("a page that the CPU keeps storing to is left in RAM, and copied again when it has come to rest", async () => {
  await withSpace(async (space) => {
    const data = space.mmapSync(PAGE);
    space.u32.store(data, 0);
    const device = new PlayedDevice(space, { frames: 4 });
    for (let i = 1; i <= 10; i++) {
      space.u32.store(data, i);
      assert.equal(device.load(data), i);
    }
    assert.equal(device.stats.thrashing, 1);
    assert.equal(device.entry(data), "remote");
    const { invalidations } = device.stats;
    space.u32.store(data, 99);
    space.u32.store(data, 100);
    assert.ok(device.stats.invalidations <= invalidations + 1, "stores disturb nobody now");
    assert.equal(device.load(data), 100);
    // The lapse ends with the first batch after it; each fresh page's fault makes one.
    const others = space.mmapSync(200 * PAGE);
    for (let tries = 0; device.entry(data) !== "" && tries < 200; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      device.load(others + tries * PAGE);
    }
    assert.equal(device.load(data), 100);
    assert.equal(device.entry(data), "local");
    device.close();
  });
});

describe("what no mapping allows", () => {
  const FAR = 2 ** 41;

  test("names address, access and item; memory and device go on", () =>
    withSpace((space) => {
      const data = space.mmapSync(4 * PAGE);
      const constant = space.mmapSync(PAGE, { protection: "read" });
      stampPages(space, data, 4);
      const device = new PlayedDevice(space, { frames: 2 });
      const cases = [
        ["EFAULT", "read", FAR + 16, (memory: TypedAccess) => void memory.f64.load(FAR + 16)],
        ["EFAULT", "write", FAR + 8, (memory: TypedAccess) => memory.f64.store(FAR + 8, 1)],
        ["EFAULT", "write", FAR, (memory: TypedAccess) => void memory.u8.atomicLoad(FAR)],
        [
          "EPERM",
          "write",
          constant + 4,
          (memory: TypedAccess) => memory.i16.store(constant + 4, 1),
        ],
        [
          "EPERM",
          "write",
          constant,
          (memory: TypedAccess) => void memory.u32.atomicAdd(constant, 1),
        ],
      ] as const;
      for (const [code, access, address, touch] of cases) {
        const failure = device.tryRun((memory, item) => {
          if (item === 17) touch(memory);
          else memory.u32.load(data + (item % 4) * PAGE);
        }, 40);
        assert.ok(failure instanceof DeviceFault, String(failure));
        assert.deepEqual(
          [failure.code, failure.access, failure.address, failure.item],
          [code, access, address, 17],
        );
        assert.match(
          failure.message,
          /^Cannot (read|write) address 0x[0-9a-f]+ in work item 17: .+; .+/,
        );
      }
      assert.equal(device.load(data + 3 * PAGE), 3);
      assert.equal(space.u32.load(data + PAGE), 1);
      device.close();
    }));

  test("a page in the middle of others that are fine fails alone", () =>
    withSpace((space) => {
      const data = space.mmapSync(32 * PAGE);
      stampPages(space, data, 32);
      space.munmapSync(data + 9 * PAGE, PAGE);
      const device = new PlayedDevice(space, { frames: 64 });
      const seen = new Set<number>();
      const failure = device.tryRun(
        (memory, item) => void seen.add(memory.u32.load(data + item * PAGE)),
        32,
      );
      assert.ok(failure instanceof DeviceFault);
      assert.equal(failure.address, data + 9 * PAGE);
      assert.ok(seen.size > 0);
      device.close();
    }));

  test("an unaligned address and a kernel's own exception fail the dispatch with the item and the cause", () =>
    withSpace((space) => {
      const data = space.mmapSync(PAGE);
      const device = new PlayedDevice(space, { frames: 2 });
      const unaligned = device.tryRun((memory) => void memory.u32.load(data + 2), 1);
      assert.ok(unaligned instanceof KernelFailure);
      assert.equal((unaligned.cause as { code?: string }).code, "EINVAL");
      const cause = new RangeError("the kernel's own");
      const failure = device.tryRun((_memory, item) => {
        if (item === 3) throw cause;
      }, 10);
      assert.ok(failure instanceof KernelFailure);
      assert.deepEqual([failure.item, failure.cause], [3, cause]);
      assert.equal(device.load(data), 0);
      device.close();
    }));

  test("a write view that stays open ends the device's access with EBUSY, and only there; closing it lets the device in", () =>
    withSpace((space) => {
      const data = space.mmapSync(4 * PAGE);
      stampPages(space, data, 4);
      const device = new PlayedDevice(space, { frames: 4, faultTimeoutMs: 30 });
      const view = space.viewSync(data + PAGE, PAGE, "write");
      assert.equal(device.load(data), 0);
      assert.equal(device.load(data + 2 * PAGE), 2);
      const failure = device.tryRun((memory) => void memory.u32.load(data + PAGE), 1);
      assert.ok(failure instanceof DeviceFault);
      assert.equal(failure.code, "EBUSY");
      view.as(Uint32Array)[0] = 77;
      view[Symbol.dispose]();
      assert.equal(device.load(data + PAGE), 77);
      device.close();
    }));

  test("RAM used up in the middle of a dispatch is ENOMEM; afterwards everything works", () =>
    withSpace(
      (space) => {
        const data = space.mmapSync(4 * MIB);
        const device = new PlayedDevice(space, { frames: 4 });
        const failure = device.tryRun(
          (memory, item) => memory.u32.store(data + item * PAGE, 1),
          1024,
        );
        assert.ok(failure instanceof DeviceFault, String(failure));
        assert.equal(failure.code, "ENOMEM");
        space.madviseSync(data, 4 * MIB, "dontneed");
        device.store(data, 3);
        assert.equal(space.u32.load(data), 3);
        device.close();
      },
      { ramBytes: 1 * MIB },
    ));
});

test("random items over random pages, with the CPU rewriting in between: each load is what the CPU stored last", () => {
  const seed = Date.now() & 0x7fffffff;
  console.log(`seed ${seed}`);
  return withSpace((space) => {
    const random = diceOf(seed);
    const data = space.mmapSync(PAGES * PAGE);
    const current = new Uint32Array(PAGES);
    const device = new PlayedDevice(space, { frames: 12 });
    for (let round = 0; round < 60; round++) {
      for (let i = random(10); i > 0; i--) {
        const page = random(PAGES);
        const value = random(2 ** 31);
        current[page] = value;
        if (random(2) === 0) space.u32.store(data + page * PAGE, value);
        else device.store(data + page * PAGE, value);
      }
      if (random(10) === 0) {
        const page = random(PAGES - 4);
        space.madviseSync(data + page * PAGE, 4 * PAGE, "dontneed");
        current.fill(0, page, page + 4);
      }
      const wrong: number[] = [];
      device.run((memory, item) => {
        const page = (item * 29 + round) % PAGES;
        if (memory.u32.load(data + page * PAGE) !== current[page]) wrong.push(page);
      }, 40);
      assert.deepEqual(wrong, []);
    }
    device.close();
  });
});
