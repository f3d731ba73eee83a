/**
 * @module devices/webgpu/chunk-size
 * How many workgroups of a kernel make a chunk: as many as a pass stays short with, and as have
 * their pages on the device at once. What was learned of a kernel holds for its next dispatches: a
 * chunk that turns out too large has run a dozen passes or more, and brought pages, for nothing. So
 * a size that was too large is tried again only if what is known of a chunk's pages says that it
 * would fit. Of the device's Worker.
 */

/** Workgroups of a kernel's first chunk: what a workgroup takes is not known then. */
const FIRST_CHUNK = 64;
/** Workgroups of a chunk at most. */
const CHUNK_MAX: number = 2 ** 26;
/** A pass that takes less grows the next chunk; one that takes more halves it. */
const PASS_SHORT_MS = 12;
const PASS_LONG_MS = 60;
/** By so much a chunk grows at most; or where twice as many were too large before. */
const GROWTH = 4;
const CAREFUL_GROWTH = 2;

/** A chunk that was committed. */
export interface ChunkRun {
  readonly workgroups: number;
  /** What a pass of it took. */
  readonly passMs: number;
  /** Pages that it is known to have used: all, if frames were short; none, if all were there. */
  readonly pages: number;
  /** Pages that a chunk could have. */
  readonly usablePages: number;
}

export class ChunkSize {
  #size = FIRST_CHUNK;
  /** So many did not fit; Infinity: that has not been seen, or not lately. */
  #tooLarge = Infinity;

  /** Of the next chunk. */
  get workgroups(): number {
    return this.#size;
  }

  /** The pages of so many do not fit together. */
  refuse(workgroups: number): void {
    this.#tooLarge = workgroups;
    this.#size = this.#most;
  }

  /** A pass of so many took so long, and was not through. */
  shorten(workgroups: number, passMs: number): void {
    this.#size = Math.max(1, Math.floor((workgroups * PASS_LONG_MS) / passMs));
  }

  grow(run: ChunkRun): void {
    if (this.#tooLarge !== Infinity && this.#wouldFit(run)) this.#tooLarge *= CAREFUL_GROWTH;
    this.#size = Math.min(sizeAfter(this.#size, run.passMs), this.#most);
  }

  get #most(): number {
    return Math.max(1, Math.floor(this.#tooLarge / CAREFUL_GROWTH));
  }

  #wouldFit({ workgroups, pages, usablePages }: ChunkRun): boolean {
    return pages * (this.#tooLarge / workgroups) <= usablePages;
  }
}

/** Passes stay short: other work of the GPU, and the watchdogs of drivers, wait for them. */
function sizeAfter(size: number, passMs: number): number {
  if (passMs < PASS_SHORT_MS) return Math.min(size * GROWTH, CHUNK_MAX);
  if (passMs <= PASS_LONG_MS) return size;
  return Math.max(1, Math.floor((size * PASS_LONG_MS) / (2 * passMs)));
}
