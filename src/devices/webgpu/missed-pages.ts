/**
 * @module devices/webgpu/missed-pages
 * Brings what a pass has missed, or what direct ranges lack, and says what cannot be had. Of the
 * device's Worker. Holding no lock.
 */

import {
  EBUSY,
  EFAULT,
  EINVAL,
  type Errno,
  PAGE_BYTES,
  TASK_SIZE_PAGES,
  type Task,
} from "../../driver-interface.ts";
import { type PageWant, WANT_READ, WANT_WRITE, ascending } from "./bring.ts";
import type { RowPages } from "./frame-pool.ts";
import type { ChunkCounts, ChunkParts } from "./chunk-parts.ts";
import type { GpuFault } from "./gpu.ts";
import { prefetchFor } from "./prefetch.ts";

/** What became of pages that were asked for. */
export type Served =
  /** Some have come: another pass is worth its time. */
  | { readonly kind: "served" }
  /** They do not fit beside what the chunk uses already. */
  | { readonly kind: "too large"; readonly pages: number }
  /** None can be had, and why the first cannot. */
  | { readonly kind: "failed"; readonly errno: Errno; readonly fault: GpuFault };

const SERVED: Served = { kind: "served" };

export class MissedPages {
  readonly #parts: ChunkParts;
  readonly #counts: ChunkCounts;

  constructor(parts: ChunkParts, counts: ChunkCounts) {
    this.#parts = parts;
    this.#counts = counts;
  }

  /** W5 of rows.ts. `workgroup`: that needs them. */
  *fillRows({ reads, writes }: RowPages, workgroup: number): Task<Served> {
    this.#counts.batches++;
    this.#parts.bringer.advised.clear();
    const { failures } = yield* this.#parts.bringer.bringSorted({
      writes: writes.toSorted(ascending),
      asked: reads.toSorted(ascending),
      early: [],
    });
    const [first] = failures;
    if (first === undefined) return SERVED;
    const { page, errno } = first;
    const fault = { address: page * PAGE_BYTES, isWrite: writes.includes(page), workgroup };
    return { kind: "failed", errno, fault };
  }

  *serve(faults: readonly GpuFault[]): Task<Served> {
    const { pool, bringer } = this.#parts;
    const failed = new FailedPages();
    const wants = this.#wantsOf(faults, failed);
    this.#counts.faults += faults.length;
    this.#counts.batches++;
    const asked = wants.size;
    if (pool.pinned + asked > pool.usable) return { kind: "too large", pages: pool.pinned + asked };
    bringer.advised.clear();
    const brought = yield* bringer.bring(wants);
    let served = asked - brought.failures.length;
    const readable = new Map<number, PageWant>();
    for (const { page, errno } of brought.failures) {
      const isWrite = wants.get(page) === WANT_WRITE;
      failed.add(page, isWrite, errno);
      // It was read, too: that may be allowed.
      if (isWrite && faults.some((fault) => isReadOf(fault, page))) readable.set(page, WANT_READ);
    }
    const read = yield* bringer.bring(readable);
    for (const { page, errno } of read.failures) failed.add(page, false, errno);
    served += readable.size - read.failures.length;
    if (brought.isFull || read.isFull) return { kind: "too large", pages: pool.pinned + asked };
    const early = prefetchFor(wants, pool, bringer.advised);
    if (early.size > 0) yield* bringer.bring(early);
    if (served > 0) return SERVED;
    const first = faults.find((fault) => failed.errnoOf(fault) !== 0);
    if (first === undefined) return SERVED;
    return { kind: "failed", errno: failed.errnoOf(first), fault: first };
  }

  /** The pages of the faults that are not there; `failed` gets those that cannot be. */
  #wantsOf(faults: readonly GpuFault[], failed: FailedPages): Map<number, PageWant> {
    const { pool } = this.#parts;
    const wants = new Map<number, PageWant>();
    for (const { address, isWrite } of faults) {
      const page = Math.floor(address / PAGE_BYTES);
      const errno = address % 4 !== 0 ? EINVAL : page >= TASK_SIZE_PAGES ? EFAULT : 0;
      if (errno !== 0) failed.add(page, isWrite, errno);
      else if (pool.rows.frameFor(page) !== 0) failed.add(page, isWrite, EBUSY); // W4 of rows.ts
      else if (pool.allows(page, isWrite) || (isWrite && this.#resume(page)))
        this.#counts.validFaults++;
      else {
        if (!wants.has(page)) pool.evictedPages.miss(page);
        if (isWrite || !wants.has(page)) wants.set(page, isWrite ? WANT_WRITE : WANT_READ);
      }
    }
    return wants;
  }

  /** Q7 of private-pages.ts: this chunk does store to it. */
  #resume(page: number): boolean {
    const { privatePages, pool } = this.#parts;
    if (privatePages?.resume(page) !== true) return false;
    pool.pin(pool.frameOf(page));
    return true;
  }
}

function isReadOf({ address, isWrite }: GpuFault, page: number): boolean {
  return !isWrite && Math.floor(address / PAGE_BYTES) === page;
}

/** Pages that cannot be had for reading or for writing, and why. */
class FailedPages {
  readonly #errnos = new Map<number, Errno>();

  add(page: number, isWrite: boolean, errno: Errno): void {
    this.#errnos.set(page * 2 + (isWrite ? 1 : 0), errno);
  }

  /** 0: the fault is not one of them. */
  errnoOf({ address, isWrite }: GpuFault): Errno {
    return this.#errnos.get(Math.floor(address / PAGE_BYTES) * 2 + (isWrite ? 1 : 0)) ?? 0;
  }
}
