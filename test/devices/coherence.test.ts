/**
 * @module What a device reads is what the CPU wrote, whichever way a page is held: copied, in RAM,
 * shared, a user's buffer; and the other way round. With broken twins: a device that does not
 * write-protect what it copies, one that does not tell others, and one that does not look whether
 * its range is still valid.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { CopyBatch } from "../../src/devices/service/device-hardware.ts";
import { SpanService } from "../../src/devices/service/span-service.ts";
import type { Mm } from "../../src/mm/mm-struct.ts";
import { leafOf, pteIndex } from "../../src/mmu/radix-table.ts";
import { PTE_TRACKED, PTE_WRITE } from "../../src/mm/pte.ts";
import type { AddressSpace } from "../../src/index.ts";
import { atomicAnd, atomicOr } from "../../src/sync/atomics.ts";
import { DONE_FALSE, DONE_TRUE, type Task } from "../../src/sync/tasks/task.ts";
import { PAGE, PlayedDevice, stampPages, withSpace } from "./harness.ts";

test("a page is read from a copy, until the CPU stores to it", () =>
  withSpace((space) => {
    const address = space.mmapSync(4 * PAGE);
    stampPages(space, address, 4, 100);
    const device = new PlayedDevice(space, { frames: 8 });
    assert.equal(device.load(address + PAGE), 101);
    assert.equal(device.entry(address + PAGE), "local");
    const { pagesToDevice } = device.stats;
    assert.equal(device.load(address + PAGE), 101);
    assert.equal(device.stats.pagesToDevice, pagesToDevice, "no second copy");
    space.u32.store(address + PAGE, 7);
    assert.equal(device.entry(address + PAGE), "", "the store was told");
    assert.equal(device.load(address + PAGE), 7);
    assert.ok(device.stats.dropped > 0);
    device.close();
  }));

test("a record is read from copies, across the border of two pages, until the CPU stores to it", () =>
  withSpace((space) => {
    const address = space.mmapSync(4 * PAGE);
    const at = address + PAGE - 12;
    for (let i = 0; i < 6; i++) space.u32.store(at + 4 * i, 10 + i);
    const device = new PlayedDevice(space, { frames: 8 });
    const record = new Uint32Array(8);
    const load = (): number[] => {
      device.run((memory) => memory.u32.loadInto(at, record, 1, 6), 1);
      return [...record];
    };
    assert.deepEqual(load(), [0, 10, 11, 12, 13, 14, 15, 0]);
    assert.equal(device.entry(at), "local");
    assert.equal(device.entry(at + 12), "local");
    space.u32.store(at + 12, 99);
    assert.deepEqual(load(), [0, 10, 11, 12, 99, 14, 15, 0]);
    device.close();
  }));

/** Copies without write protection. */
class Untracked extends SpanService {
  protected override track(
    _mm: Mm,
    _startPage: number,
    _endPage: number,
    copyable: Uint8Array,
  ): Task<boolean> {
    copyable.fill(1);
    return DONE_FALSE;
  }
}

test("BROKEN: a device that does not track reads what the CPU has long replaced", () =>
  withSpace((space) => {
    const address = space.mmapSync(PAGE);
    space.u32.store(address, 1);
    const device = new PlayedDevice(space, { frames: 2, Spans: Untracked });
    assert.equal(device.load(address), 1);
    space.u32.store(address, 2);
    assert.equal(device.load(address), 1, "stale: this is what tracking prevents");
    device.close();
  }));

/** Runs `disturb` once, between the reading of the page table and the driver lock. */
function disturbed(disturb: () => void, isBlind: boolean): typeof SpanService {
  let isDone = false;
  return class extends SpanService {
    protected override *copy(batch: CopyBatch): Task<void> {
      yield* super.copy(batch);
      if (!isDone) {
        isDone = true;
        disturb();
      }
    }

    protected override isStillValid(
      range: Parameters<SpanService["isStillValid"]>[0],
    ): Task<boolean> {
      return isBlind ? DONE_TRUE : super.isStillValid(range);
    }
  };
}

const DISTURBANCES: { readonly [name: string]: (space: AddressSpace, address: number) => void } = {
  "a store": (space, address) => space.u32.store(address, 2),
  "unmapping and mapping anew": (space, address) => {
    space.munmapSync(address, PAGE);
    space.mmapSync(PAGE, { address, fixed: "noreplace" });
    space.u32.store(address, 2);
  },
  "madvise(dontneed)": (space, address) => {
    space.madviseSync(address, PAGE, "dontneed");
    space.u32.store(address, 2);
  },
  "a view for writing": (space, address) => {
    using view = space.viewSync(address, PAGE, "write");
    view.as(Uint32Array)[0] = 2;
  },
};

for (const [name, disturb] of Object.entries(DISTURBANCES)) {
  test(`R4: ${name} between reading the page table and programming the device makes it read again`, () =>
    withSpace((space) => {
      const address = space.mmapSync(PAGE);
      space.u32.store(address, 1);
      const device = new PlayedDevice(space, {
        frames: 2,
        Spans: disturbed(() => disturb(space, address), false),
      });
      assert.equal(device.load(address), 2);
      assert.ok(device.stats.retries > 0);
      device.close();
    }));

  test(`BROKEN: without R4, ${name} leaves the device with what was there before, for good`, () =>
    withSpace((space) => {
      const address = space.mmapSync(PAGE);
      space.u32.store(address, 1);
      const device = new PlayedDevice(space, {
        frames: 2,
        Spans: disturbed(() => disturb(space, address), true),
      });
      assert.equal(device.load(address), 1, "stale: the invalidation swept before this was put in");
      assert.equal(device.load(address), 1, "and nobody will sweep again");
      device.close();
    }));
}

test("a store of the device is seen by the CPU, and its copy is gone for good", () =>
  withSpace((space) => {
    const address = space.mmapSync(2 * PAGE);
    stampPages(space, address, 2);
    const device = new PlayedDevice(space, { frames: 8 });
    assert.equal(device.load(address), 0);
    assert.equal(device.entry(address), "local");
    device.store(address + 8, 55);
    assert.equal(space.u32.load(address + 8), 55);
    assert.equal(device.entry(address), "remote write");
    assert.equal(device.load(address), 0, "read where it is written");
    space.u32.store(address, 9);
    assert.equal(device.load(address), 9, "the CPU needs no fault for that");
    assert.equal(device.entry(address), "remote write");
    device.close();
  }));

test("memory that nobody has touched reads as zeros, and takes no frame", () =>
  withSpace((space) => {
    const address = space.mmapSync(64 * PAGE);
    const device = new PlayedDevice(space, { frames: 8 });
    for (let i = 0; i < 64; i++) assert.equal(device.load(address + i * PAGE), 0);
    assert.equal(device.stats.residentPages, 0);
    assert.equal(device.entry(address), "remote");
    space.u32.store(address, 5);
    assert.equal(device.load(address), 5);
    device.store(address + PAGE, 6);
    assert.equal(space.u32.load(address + PAGE), 6);
    device.close();
  }));

test("shared memory is not copied: stores through another space are seen at once", () =>
  withSpace(async (space) => {
    const address = space.mmapSync(PAGE, { shared: true });
    space.u32.store(address, 1);
    const child = space.forkSync();
    const device = new PlayedDevice(space, { frames: 4 });
    assert.equal(device.load(address), 1);
    assert.match(device.entry(address), /^remote/);
    child.u32.store(address, 2);
    assert.equal(device.load(address), 2);
    device.store(address, 3);
    assert.equal(child.u32.load(address), 3);
    device.close();
    await child.dispose();
  }));

test("a user's buffer is used in place: stores without any entry are seen", () =>
  withSpace((space) => {
    const buffer = new SharedArrayBuffer(2 * PAGE);
    const words = new Uint32Array(buffer);
    const address = space.mmapSync(2 * PAGE, { buffer });
    const device = new PlayedDevice(space, { frames: 4 });
    words[1024] = 11;
    assert.equal(device.load(address + PAGE), 11);
    words[1024] = 12;
    assert.equal(device.load(address + PAGE), 12);
    device.store(address + PAGE + 4, 13);
    assert.equal(words[1025], 13);
    assert.equal(device.stats.pagesToDevice, 0);
    device.close();
  }));

test("a device on a forked space has what that space has, and stores apart from the parent", () =>
  withSpace(async (space) => {
    const address = space.mmapSync(2 * PAGE);
    stampPages(space, address, 2, 10);
    const parentDevice = new PlayedDevice(space, { frames: 4 });
    assert.equal(parentDevice.load(address), 10);
    const child = space.forkSync();
    const childDevice = new PlayedDevice(child, { frames: 4 });
    assert.equal(childDevice.load(address), 10);
    space.u32.store(address, 20);
    child.u32.store(address, 30);
    assert.deepEqual([parentDevice.load(address), childDevice.load(address)], [20, 30]);
    childDevice.store(address + PAGE, 99);
    assert.deepEqual([parentDevice.load(address + PAGE), child.u32.load(address + PAGE)], [11, 99]);
    childDevice.close();
    parentDevice.close();
    await child.dispose();
  }));

test("two devices on one space: what one stores, the other reads", () =>
  withSpace((space) => {
    const address = space.mmapSync(2 * PAGE);
    stampPages(space, address, 2, 10);
    const writer = new PlayedDevice(space, { frames: 4 });
    const reader = new PlayedDevice(space, { frames: 4 });
    writer.store(address, 1);
    assert.equal(writer.entry(address), "remote write");
    assert.equal(reader.load(address), 1);
    assert.equal(reader.entry(address), "local");
    assert.equal(writer.entry(address), "", "it was told that the right to store is gone");
    writer.store(address, 2);
    assert.equal(reader.entry(address), "");
    assert.equal(reader.load(address), 2);
    reader.close();
    writer.close();
  }));

/** Takes the write right as tracking does, but tells nobody. */
class Secretive extends SpanService {
  protected override track(
    mm: Mm,
    startPage: number,
    endPage: number,
    copyable: Uint8Array,
  ): Task<boolean> {
    const { memory } = this.device.machine;
    for (let page = startPage; page < endPage; page++) {
      const index = pteIndex(leafOf(memory, mm.pgd, page), page);
      atomicOr(memory.words, index, PTE_TRACKED);
      atomicAnd(memory.words, index, ~PTE_WRITE);
    }
    copyable.fill(1);
    return DONE_FALSE;
  }
}

test("BROKEN: a device that takes the write right without telling reads stale what another device stores", () =>
  withSpace((space) => {
    const address = space.mmapSync(PAGE);
    space.u32.store(address, 0);
    const writer = new PlayedDevice(space, { frames: 4 });
    const reader = new PlayedDevice(space, { frames: 4, Spans: Secretive });
    writer.store(address, 1);
    assert.equal(reader.load(address), 1);
    writer.store(address, 2);
    assert.equal(reader.load(address), 1, "stale: the writer was never told to ask again");
    reader.close();
    writer.close();
  }));

test("mprotect, mremap, munmap: the device follows", () =>
  withSpace((space) => {
    const address = space.mmapSync(4 * PAGE);
    stampPages(space, address, 4, 50);
    const device = new PlayedDevice(space, { frames: 8 });
    for (let i = 0; i < 4; i++) assert.equal(device.load(address + i * PAGE), 50 + i);
    space.mprotectSync(address, PAGE, "none");
    assert.match(
      String(device.tryRun((memory) => void memory.u32.load(address), 1)),
      /EFAULT|Cannot read/,
    );
    space.mprotectSync(address, PAGE, "read");
    assert.equal(device.load(address), 50);
    const failure = device.tryRun((memory) => memory.u32.store(address, 1), 1);
    assert.equal((failure as { code?: string }).code, "EPERM");
    const moved = space.mremapSync(address + PAGE, 2 * PAGE, 8 * PAGE, { mayMove: true });
    assert.deepEqual(
      [device.load(moved), device.load(moved + PAGE), device.load(moved + 2 * PAGE)],
      [51, 52, 0],
    );
    space.munmapSync(address + 3 * PAGE, PAGE);
    assert.equal(
      (device.tryRun((memory) => void memory.u32.load(address + 3 * PAGE), 1) as { code?: string })
        .code,
      "EFAULT",
    );
    device.close();
  }));
