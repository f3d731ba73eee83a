/**
 * @module DMA mapping: which pages get a device address, what is left if the device has none, and
 * which entries become dirty.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type DmaDevice,
  NOT_MAPPED,
  hmmRangeDmaMap,
  hmmRangeDmaUnmap,
  readFrames,
  writeFrames,
} from "../../src/hmm/walk/dma.ts";
import { DEFAULT_ENCODING } from "../../src/hmm/entry.ts";
import {
  type HmmRange,
  type HmmRangeOptions,
  hmmRangeUnregister,
} from "../../src/hmm/range/range.ts";
import { leafOf, pteIndex } from "../../src/mmu/radix-table.ts";
import { PAGE_BYTES, PTE_DIRTY } from "../../src/mm/pte.ts";
import { VM_READ } from "../../src/mm/vma/vma.ts";
import { EVENT_CLEAR, invalidateRange } from "../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../src/notifier/mmu-notifier.ts";
import { EBUSY, EFAULT, EINVAL } from "../../src/sync/errno.ts";
import { FakeDevice, Harness, isValidNow } from "./harness.ts";

const READ = DEFAULT_ENCODING.flags.valid;
const WRITE = READ | DEFAULT_ENCODING.flags.write;

/** An IOMMU with `limit` addresses, counted from 0. */
class FakeIommu implements DmaDevice {
  readonly mapped = new Map<number, { readonly pfn: number; readonly isWritable: boolean }>();
  readonly #limit: number;
  #next = 0;
  constructor(limit: number) {
    this.#limit = limit;
  }
  mapPage = (pfn: number, isWritable: boolean): number => {
    if (this.mapped.size === this.#limit) return NOT_MAPPED;
    this.mapped.set(this.#next, { pfn, isWritable });
    return this.#next++;
  };
  unmapPage = (address: number): void => {
    assert.ok(this.mapped.delete(address), `address ${address} is unmapped once`);
  };
}

interface SetUp {
  readonly harness: Harness;
  readonly device: FakeDevice;
  readonly range: HmmRange;
  readonly addresses: Float64Array;
}

function setUp(options: Partial<HmmRangeOptions>): SetUp {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  harness.map(16, 3);
  harness.map(19, 1, VM_READ);
  return {
    harness,
    device,
    range: harness.registered(device, 16, 4, options),
    addresses: new Float64Array(4),
  };
}

function map({ harness, range, addresses }: SetUp, iommu: FakeIommu): number {
  return harness.reading(() => hmmRangeDmaMap(range, iommu, addresses));
}

function unmap({ harness, range, addresses }: SetUp, iommu: FakeIommu, isDirty: boolean): number {
  return harness.reading(function* () {
    return hmmRangeDmaUnmap(range, iommu, addresses, isDirty);
  });
}

function close({ harness, device, range }: SetUp): void {
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
}

test("every page that came out valid is mapped with its rights, the others are not", () => {
  const set = setUp({ request: Uint32Array.of(WRITE, 0, READ, READ), pfnFlagsMask: 0xff });
  const iommu = new FakeIommu(10);
  assert.equal(map(set, iommu), 3);
  assert.deepEqual([...set.addresses], [0, NOT_MAPPED, 1, 2], "0 is an address like any other");
  assert.deepEqual(
    [...iommu.mapped.values()].map(({ isWritable }) => isWritable),
    [true, false, false],
  );
  assert.equal(isValidNow(set.range), true);
  assert.equal(unmap(set, iommu, false), 3);
  assert.equal(iommu.mapped.size, 0);
  assert.ok(set.addresses.every((address) => address === NOT_MAPPED));
  assert.ok(set.range.pfns.every((entry) => entry === 0));
  assert.equal(unmap(set, iommu, false), 0, "a second time finds nothing");
  close(set);
});

test("a device that has no address left: EFAULT, and nothing stays mapped", () => {
  const set = setUp({ defaultFlags: READ });
  const iommu = new FakeIommu(2);
  assert.equal(map(set, iommu), EFAULT);
  assert.equal(iommu.mapped.size, 0);
  assert.ok(set.addresses.every((address) => address === NOT_MAPPED));
  close(set);
});

test("an invalidation while mapping: EBUSY, and nothing stays mapped", () => {
  const set = setUp({ defaultFlags: READ });
  const { harness } = set;
  const iommu = new FakeIommu(10);
  const change = invalidateRange(harness.mm, 17, 18, EVENT_CLEAR);
  const mapPage = iommu.mapPage;
  iommu.mapPage = (pfn, isWritable) => {
    // an invalidation by another thread, in the middle of the loop
    if (iommu.mapped.size === 1) harness.run(pair());
    return mapPage(pfn, isWritable);
  };
  function* pair(): ReturnType<typeof mmuNotifierInvalidateRangeEnd> {
    yield* mmuNotifierInvalidateRangeStart(harness.machine, change);
    yield* mmuNotifierInvalidateRangeEnd(harness.machine, change);
  }
  assert.equal(map(set, iommu), EBUSY);
  assert.equal(iommu.mapped.size, 0);
  close(set);
});

test("what the fault answers is passed on, and an array that is too short is EINVAL", () => {
  const set = setUp({ defaultFlags: WRITE });
  const iommu = new FakeIommu(10);
  assert.equal(map(set, iommu), -1, "EPERM: the last page is read-only");
  assert.equal(map({ ...set, addresses: new Float64Array(3) }, iommu), EINVAL);
  assert.equal(unmap({ ...set, addresses: new Float64Array(3) }, iommu, false), EINVAL);
  assert.equal(iommu.mapped.size, 0);
  close(set);
});

test("dirty marks pages that were mapped writable and are still the ones that were mapped", () => {
  const request = Uint32Array.of(WRITE, WRITE, READ, READ);
  const set = setUp({ request, pfnFlagsMask: 0xff });
  const { harness } = set;
  const { memory } = harness.machine;
  const iommu = new FakeIommu(10);
  assert.equal(map(set, iommu), 4);
  const index = (page: number): number => pteIndex(leafOf(memory, harness.mm.pgd, page), page);
  const isDirty = (page: number): boolean => ((memory.words[index(page)] ?? 0) & PTE_DIRTY) !== 0;
  for (const page of [16, 17, 18])
    memory.words[index(page)] = (memory.words[index(page)] ?? 0) & ~PTE_DIRTY;
  const other = memory.words[index(17)] ?? 0;
  memory.words[index(17)] = other + 0x100; // the page is another frame by now
  assert.equal(unmap(set, iommu, true), 4);
  assert.deepEqual([16, 17, 18, 19].map(isDirty), [true, false, false, false]);
  memory.words[index(17)] = other;
  close(set);
});

test("frames in a row are written and read together, up to the end of their section", () => {
  const harness = new Harness();
  const { machine } = harness;
  const buffer = new SharedArrayBuffer(4 * PAGE_BYTES);
  const first = harness.run(machine.ram.sections.add(buffer));
  const bytes = Uint8Array.from({ length: 3 * PAGE_BYTES }, (_, i) => i >>> 8);
  assert.equal(harness.run(writeFrames(machine, first, bytes)), 3);
  assert.deepEqual(new Uint8Array(buffer).slice(0, 3 * PAGE_BYTES), bytes);
  const read = new Uint8Array(3 * PAGE_BYTES);
  assert.equal(harness.run(readFrames(machine, first, read)), 3);
  assert.deepEqual(read, bytes);
  assert.equal(harness.run(writeFrames(machine, first + 2, bytes)), 2, "the third is elsewhere");
  assert.equal(harness.run(readFrames(machine, first + 2, read.fill(0))), 2);
  assert.deepEqual(read.subarray(0, 2 * PAGE_BYTES), bytes.subarray(0, 2 * PAGE_BYTES));
  assert.ok(read.subarray(2 * PAGE_BYTES).every((byte) => byte === 0));
  harness.leave();
});
