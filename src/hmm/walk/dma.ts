/**
 * @module hmm/walk/dma
 * A range's pages as addresses that a device understands: fault them in, then map each through the
 * device's IOMMU. Follows Linux 5.3 `hmm_range_dma_map` and `hmm_range_dma_unmap`. And what a
 * device reads or writes of a frame.
 *
 * Mapping takes no driver lock, so its own test of validity is an early out only: the driver asks
 * `hmmRangeValid` under its lock before it programs the device. A page is mapped if its entry in
 * pfns is valid, so any number, 0 too, may be a device address.
 */

import { dataStep, dataSteps } from "../../memory/frames/page-data.ts";
import { BufferNotHere } from "../../memory/frames/sections.ts";
import type { Machine } from "../../memory/machine.ts";
import { PAGE_BYTES, PTE_DIRTY, PTE_PRESENT, PTE_WRITE, ptePfn } from "../../mm/pte.ts";
import { leafOf, nextLeafPage, pteIndex, wordAt } from "../../mmu/radix-table.ts";
import { atomicCompareExchange } from "../../sync/atomics.ts";
import { EBUSY, EFAULT, EINVAL, ENXIO, type Errno } from "../../sync/errno.ts";
import { bug } from "../../sync/errors.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { entryIsValid, entryIsWritable, entryPfn } from "../entry.ts";
import { hmmRangeFault } from "./fault.ts";
import { type HmmRange, checkRegistered, mmOfRange } from "../range/range.ts";
import { isSequenceUnchanged } from "../range/valid.ts";

/** The device's side. Both are plain calls that do not wait. */
export interface DmaDevice {
  /**
   * A device address for the page of the device that begins with frame `pfn`, for reading or for
   * both ways; -1 when there is none left.
   */
  readonly mapPage: (pfn: number, isWritable: boolean) => number;
  /** Gives a device address back. The device must not use it any more. */
  readonly unmapPage: (deviceAddress: number) => void;
}

/** What stands in `deviceAddresses` for a page that is not mapped. */
export const NOT_MAPPED = -1;

/**
 * Faults the range (as `hmmRangeFault`: locks, requests and results are its) and maps
 * every page that came out valid. `deviceAddresses[i]` becomes the address of page i, or
 * NOT_MAPPED. Returns how many pages were mapped, or, with nothing left mapped:
 *
 * | result | meaning |
 * | --- | --- |
 * | EINVAL | `deviceAddresses` is shorter than the range |
 * | EFAULT | the device has no address for a page |
 * | EBUSY | the range was invalidated while mapping |
 * | any other | as of `hmmRangeFault` |
 */
export function* hmmRangeDmaMap(
  range: HmmRange,
  device: DmaDevice,
  deviceAddresses: Float64Array,
): Task<number> {
  checkRegistered(range, "map for DMA");
  if (deviceAddresses.length < range.entries) return EINVAL;
  const pages = yield* hmmRangeFault(range);
  if (pages < 0) return pages;
  deviceAddresses.fill(NOT_MAPPED, 0, pages);
  const mapped = mapPages(range, device, deviceAddresses, pages);
  const failure = mapped < 0 ? EFAULT : (yield* isSequenceUnchanged(range)) ? 0 : EBUSY;
  if (failure === 0) return mapped;
  for (let i = 0; i < pages; i++) unmapOne(range, device, deviceAddresses, i);
  return failure;
}

/** How many were mapped, or -1 when the device refused one. */
function mapPages(
  { pfns, encoding }: HmmRange,
  device: DmaDevice,
  deviceAddresses: Float64Array,
  pages: number,
): number {
  let mapped = 0;
  for (let i = 0; i < pages; i++) {
    const entry = pfns[i]!;
    if (!entryIsValid(entry, encoding)) continue;
    const address = device.mapPage(entryPfn(entry, encoding), entryIsWritable(entry, encoding));
    if (address === NOT_MAPPED) return -1;
    deviceAddresses[i] = address;
    mapped++;
  }
  return mapped;
}

/** True when page i was mapped. Its entry becomes `values.none`. */
function unmapOne(
  range: HmmRange,
  device: DmaDevice,
  deviceAddresses: Float64Array,
  i: number,
): boolean {
  const address = deviceAddresses[i]!;
  if (address === NOT_MAPPED) return false;
  device.unmapPage(address);
  deviceAddresses[i] = NOT_MAPPED;
  range.pfns[i] = range.encoding.values.none;
  return true;
}

/**
 * Takes back what `hmmRangeDmaMap` mapped, and says of pages that were mapped writable that they
 * are dirty when `isDirty`. Returns how many pages were mapped, or EINVAL when `deviceAddresses` is
 * shorter than the range. Holding the mmap lock at least for reading; and the caller excludes
 * invalidations of the range (it holds the driver lock, or is in one), so that the frames are still
 * the pages'. Linux: `hmm_range_dma_unmap`.
 *
 * @stepped
 */
export function hmmRangeDmaUnmap(
  range: HmmRange,
  device: DmaDevice,
  deviceAddresses: Float64Array,
  isDirty: boolean,
): number {
  checkRegistered(range, "unmap from DMA");
  const pages = range.entries;
  if (deviceAddresses.length < pages) return EINVAL;
  if (isDirty) markDirty(range, deviceAddresses, pages);
  let unmapped = 0;
  for (let i = 0; i < pages; i++) if (unmapOne(range, device, deviceAddresses, i)) unmapped++;
  return unmapped;
}

/**
 * The DIRTY bit of the page-table entry stands for Linux's `set_page_dirty`: set where the entry
 * still is writable and names the frame.
 *
 * @stepped pte
 */
function markDirty(range: HmmRange, deviceAddresses: Float64Array, pages: number): void {
  const { pfns, encoding, startPage, machine, pagesPerEntry } = range;
  const mm = mmOfRange(range);
  mm.mmapLock.assertHeld();
  const { memory } = machine;
  for (let i = 0; i < pages;) {
    const page = startPage + i * pagesPerEntry;
    const stop = Math.min((nextLeafPage(page) - startPage) / pagesPerEntry, pages);
    const leaf = leafOf(memory, mm.pgd, page);
    for (; i < stop; i++) {
      const entry = pfns[i]!;
      if (leaf === 0 || deviceAddresses[i] === NOT_MAPPED || !entryIsWritable(entry, encoding))
        continue;
      const first = pteIndex(leaf, startPage + i * pagesPerEntry);
      const pfn = entryPfn(entry, encoding);
      for (let j = 0; j < pagesPerEntry; j++) setDirty(memory.words, first + j, pfn + j);
    }
  }
}

/**
 * Loses only to changes that add rights, each of which happens once (mm/pte.ts, P3), or to one that
 * takes the page away, and then there is nothing to mark.
 *
 * @stepped pte
 */
function setDirty(words: Int32Array, index: number, pfn: number): void {
  for (;;) {
    const pte = wordAt(words, index);
    const isOurs =
      (pte & (PTE_PRESENT | PTE_WRITE)) === (PTE_PRESENT | PTE_WRITE) && ptePfn(pte) === pfn;
    if (!isOurs || (pte & PTE_DIRTY) !== 0) return;
    if (atomicCompareExchange(words, index, pte, pte | PTE_DIRTY) === pte) return;
  }
}

/**
 * The device reads `into.length` bytes of frame `pfn`, from byte `offsetBytes` of it on, as over a
 * bus. Holding the driver lock, under which the driver has found the frame in its table: then the
 * frame is the page's (R4). 0, or ENXIO: the frame lies in a buffer of the user's that has not
 * arrived in this thread; let the event loop turn, and try again. Throws AssertionFailure beyond
 * the frame's end.
 */
export function readFrame(
  machine: Machine,
  pfn: number,
  offsetBytes: number,
  into: Uint8Array,
): Task<Errno> {
  return transferFrame(machine, pfn, offsetBytes, into, "read");
}

/**
 * As {@link readFrame}, whole frames that lie in a row from `pfn` on, as many as `into` has room
 * for, but for those of another section. Returns how many, at least one, or ENXIO.
 */
export function* readFrames(machine: Machine, pfn: number, into: Uint8Array): Task<number> {
  const part = bytesOf(machine, pfn, 0, into.length);
  if (part === undefined) return ENXIO;
  const pages = part.length / PAGE_BYTES;
  yield* dataSteps(machine.memory, "read", pfn, pages);
  into.set(part);
  return pages;
}

/**
 * As {@link readFrame}, from `from` into the frame. The entry in the driver's table is writable.
 * CPU threads may see the bytes of one value in part.
 */
export function writeFrame(
  machine: Machine,
  pfn: number,
  offsetBytes: number,
  from: Uint8Array,
): Task<Errno> {
  return transferFrame(machine, pfn, offsetBytes, from, "write");
}

/**
 * As {@link writeFrame}, whole frames that lie in a row from `pfn` on, as many as `from` has bytes
 * for, but for those of another section. Returns how many, at least one, or ENXIO.
 */
export function* writeFrames(machine: Machine, pfn: number, from: Uint8Array): Task<number> {
  const part = bytesOf(machine, pfn, 0, from.length);
  if (part === undefined) return ENXIO;
  const pages = part.length / PAGE_BYTES;
  yield* dataSteps(machine.memory, "write", pfn, pages);
  part.set(part.length === from.length ? from : from.subarray(0, part.length));
  return pages;
}

function* transferFrame(
  machine: Machine,
  pfn: number,
  offsetBytes: number,
  bytes: Uint8Array,
  kind: "read" | "write",
): Task<Errno> {
  if (!(offsetBytes >= 0 && offsetBytes + bytes.length <= PAGE_BYTES)) {
    const span = `bytes ${offsetBytes} to ${offsetBytes + bytes.length}`;
    bug(`Cannot ${kind} ${span} of a frame: it has ${PAGE_BYTES}; go page by page`);
  }
  const part = bytesOf(machine, pfn, offsetBytes, bytes.length);
  if (part === undefined) return ENXIO;
  yield* dataStep(machine.memory, kind, pfn);
  if (kind === "read") bytes.set(part);
  else part.set(bytes);
  return 0;
}

/**
 * Bytes of the frame, and of those behind it in the same section; undefined when this thread lacks
 * the buffer that they lie in.
 */
function bytesOf(
  { ram }: Machine,
  pfn: number,
  offsetBytes: number,
  lengthBytes: number,
): Uint8Array | undefined {
  try {
    const { u8, basePfn } = ram.sections.of(pfn);
    const start = (pfn - basePfn) * PAGE_BYTES + offsetBytes;
    return u8.subarray(start, start + lengthBytes);
  } catch (error) {
    if (error instanceof BufferNotHere) return undefined;
    throw error;
  }
}
