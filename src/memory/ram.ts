/**
 * @module memory/ram
 * Page frames.
 */

import type { Errno } from "../sync/errno.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import type { Task } from "../sync/task.ts";
import type { RamSection, RamSectionHandle } from "./ram-section.ts";

export const PAGE_BYTES = 4096;
export const PAGE_WORDS = 1024;

export interface RamUsage {
  readonly totalPages: number;
  readonly freePages: number;
  readonly usedPages: number;
}

export class Ram {
  readonly memory: SharedMemory;
  /** Called in the thread that added a user section: tell the machine's other threads. */
  onSection: ((handle: RamSectionHandle) => void) | undefined;
  /** Called when this thread meets a frame of a section it was not given: receive it now (then `adoptSection`) or return false. */
  missingSection: ((basePfn: number) => RamSectionHandle | undefined) | undefined;

  constructor(memory: SharedMemory) {
    this.memory = memory;
  }

  /** A frame with count 1, or 0 (ENOMEM). */
  allocFrame(zeroed: boolean): Task<number> {
    throw new Error(`pending ${zeroed}`);
  }

  /** `pages` frames in a row, each with count 1; the first pfn, or 0 (ENOMEM). */
  allocRun(pages: number, zeroed: boolean): Task<number> {
    throw new Error(`pending ${pages} ${zeroed}`);
  }

  pageGet(pfn: number): Task<void> {
    throw new Error(`pending ${pfn}`);
  }

  pagePut(pfn: number): Task<void> {
    throw new Error(`pending ${pfn}`);
  }

  pageCount(pfn: number): number {
    throw new Error(`pending ${pfn}`);
  }

  pagePin(pfn: number): Task<void> {
    throw new Error(`pending ${pfn}`);
  }

  pageUnpin(pfn: number): Task<void> {
    throw new Error(`pending ${pfn}`);
  }

  pagePinned(pfn: number): boolean {
    throw new Error(`pending ${pfn}`);
  }

  section(pfn: number): RamSection {
    throw new Error(`pending ${pfn}`);
  }

  /** Index of the frame's first word in `section(pfn).i32` and its siblings of 4 bytes. */
  wordIndex(pfn: number): number {
    throw new Error(`pending ${pfn}`);
  }

  copyFrame(fromPfn: number, toPfn: number): void {
    throw new Error(`pending ${fromPfn} ${toPfn}`);
  }

  zeroFrame(pfn: number): void {
    throw new Error(`pending ${pfn}`);
  }

  /** A user's own buffer becomes a section in place. Its base pfn, or a negative errno (EINVAL, ENOMEM, EEXIST). */
  addSection(buffer: SharedArrayBuffer, maxPages?: number): Task<number> {
    throw new Error(`pending ${buffer.byteLength} ${maxPages}`);
  }

  /** The same buffer after it grew (a WebAssembly.Memory returns another object). */
  extendSection(basePfn: number, buffer: SharedArrayBuffer): Task<Errno> {
    throw new Error(`pending ${basePfn} ${buffer.byteLength}`);
  }

  /** Forgets a user's section. EBUSY while a frame of it is counted. */
  removeSection(basePfn: number): Task<Errno> {
    throw new Error(`pending ${basePfn}`);
  }

  /** Another thread's section arrives here. */
  adoptSection(handle: RamSectionHandle): void {
    throw new Error(`pending ${handle.basePfn}`);
  }

  usage(): RamUsage {
    throw new Error("pending");
  }
}
