/**
 * @module The fault side of the fake device's driver, as every driver should write it
 * (src/hmm/range/valid.ts). And the check of all tests with interleavings: the device's table names
 * no frame that is not the page's.
 */

import assert from "node:assert/strict";
import { entryIsValid, entryPfn } from "../../src/hmm/entry.ts";
import { hmmRangeFault } from "../../src/hmm/walk/fault.ts";
import { type HmmRange, mmOfRange } from "../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/walk/snapshot.ts";
import { hmmRangeValid, hmmRangeWaitUntilValid } from "../../src/hmm/range/valid.ts";
import { leafOf, pteIndex } from "../../src/mmu/radix-table.ts";
import { PTE_PRESENT, ptePfn } from "../../src/mm/pte.ts";
import { EBUSY } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import type { FakeDevice, Harness } from "./harness.ts";
import { withMmapRead } from "./harness.ts";

export interface ServiceOptions {
  /** Read the page table without faulting. */
  readonly looksOnly?: boolean;
  /** The recheck under the driver lock. */
  readonly isValid?: (range: HmmRange) => Task<boolean>;
  /** Rounds before EBUSY. */
  readonly rounds?: number;
}

/**
 * Fills the device's table from a registered range. The range's pages, EBUSY when all rounds
 * collided, or what the fault answers.
 */
export function* service(
  device: FakeDevice,
  range: HmmRange,
  options: ServiceOptions = {},
): Task<number> {
  const { looksOnly = false, isValid = hmmRangeValid, rounds = 50 } = options;
  const mm = mmOfRange(range);
  const { driverLock } = device.driver;
  for (let round = 0; round < rounds; round++) {
    if (!(yield* hmmRangeWaitUntilValid(range, 1000))) continue;
    const pages = yield* withMmapRead(mm, () =>
      looksOnly ? hmmRangeSnapshot(range) : hmmRangeFault(range),
    );
    if (pages === EBUSY) continue;
    if (pages < 0) return pages;
    yield* driverLock.lock();
    const isGood = yield* isValid(range);
    if (isGood) program(device, range);
    yield* driverLock.unlock();
    if (isGood) return pages;
  }
  return EBUSY;
}

function program(device: FakeDevice, range: HmmRange): void {
  for (let page = range.startPage; page < range.endPage; page++) {
    const entry = range.pfns[page - range.startPage] ?? 0;
    if (entryIsValid(entry, range.encoding)) device.table.set(page, entry);
    else device.table.delete(page);
  }
}

/** Fails when the device can reach a frame that is not the page's. Nothing is in flight. */
export function checkTable(harness: Harness, device: FakeDevice, range: HmmRange): void {
  const { memory } = harness.machine;
  for (const [page, entry] of device.table) {
    const leaf = harness.mm.pgd === 0 ? 0 : leafOf(memory, harness.mm.pgd, page);
    const pte = leaf === 0 ? 0 : (memory.words[pteIndex(leaf, page)] ?? 0);
    const pfn = entryPfn(entry, range.encoding);
    const isThePages = (pte & PTE_PRESENT) !== 0 && ptePfn(pte) === pfn;
    assert.ok(
      isThePages,
      `the device reaches frame ${pfn} for page ${page}, whose entry is 0x${(pte >>> 0).toString(16)}`,
    );
  }
}
