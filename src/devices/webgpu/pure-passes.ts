/**
 * @module devices/webgpu/pure-passes
 * What stands of the passes of a pure program that missed (V5, V6 of chunk.ts): the frames that
 * they have stored to, and which workgroups are still to run. Of the device's Worker.
 */

import type { FramePool } from "./frame-pool.ts";

export class PurePasses {
  readonly #pool: FramePool;
  readonly #frames = new Set<number>();
  #replay: Uint32Array<ArrayBuffer> | undefined;
  /** What the pool had lost when the first of the passes missed; -1: none has. */
  #lostPages = -1;

  constructor(pool: FramePool) {
    this.#pool = pool;
  }

  /** Workgroups that the next pass is to run; undefined: all of the chunk. */
  get replay(): Uint32Array<ArrayBuffer> | undefined {
    return this.#replay;
  }

  /** An input may have changed: what stands is to be undone. */
  get isStale(): boolean {
    return this.#lostPages >= 0 && this.#lostPages !== this.#pool.lostPages;
  }

  /**
   * A pass has missed, and stored to these frames. `missed`: the workgroups that have missed, if
   * they are known. Returns the frames that are to be undone at once.
   */
  keep(dirty: readonly number[], missed: Uint32Array<ArrayBuffer> | undefined): readonly number[] {
    const pool = this.#pool;
    if (this.#lostPages < 0) this.#lostPages = pool.lostPages;
    // Q6 of private-pages.ts
    const mayStay = (frame: number): boolean => frame < pool.frames && !pool.isKept(frame);
    for (const frame of dirty) if (mayStay(frame)) this.#frames.add(frame);
    const undone = dirty.filter((frame) => !mayStay(frame));
    this.#replay = undone.length === 0 ? missed : undefined;
    return undone;
  }

  /** The next pass is another kind of pass, and runs all workgroups. */
  runAll(): void {
    this.#replay = undefined;
  }

  /** Nothing stands any more. Returns the frames of which something stood. */
  takeAll(): number[] {
    const frames = [...this.#frames];
    this.#frames.clear();
    this.#replay = undefined;
    this.#lostPages = -1;
    return frames;
  }

  /** What is to be committed: with what the last pass has stored, what stands of those before. */
  withStanding(dirty: readonly number[]): readonly number[] {
    if (this.#frames.size === 0) return dirty;
    return [...new Set([...this.#frames, ...dirty])];
  }
}
