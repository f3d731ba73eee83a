/**
 * @module devices/webgpu/frame-store
 * Where the frames of a GPU lie: in the pool, which is one buffer where the adapter binds so much,
 * else several; behind them those of rows (rows.ts), each in a buffer of its own. Of the device's
 * Worker.
 */

import { PAGE_BYTES, bug } from "../../driver-interface.ts";
import type { Row } from "./rows.ts";
import { type PoolShape, framesByBuffer } from "./wgsl/layout.ts";

const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const STORAGE = 0x80;

/** Some frames that follow each other in one buffer. */
export interface FrameRun {
  readonly buffer: GPUBuffer;
  /** Of the first, in the buffer. */
  readonly offsetBytes: number;
  /** Index of the first in the list that was asked for. */
  readonly index: number;
  readonly count: number;
}

/** What of a row the store must know. */
type RowPlace = Pick<Row, "first" | "pages">;

export class FrameStore {
  /** Of the pool, in the order of their frames. */
  readonly buffers: readonly GPUBuffer[];
  /** Backups of frames, slot by slot; undefined: there are none. */
  readonly backups: GPUBuffer | undefined;
  readonly #bufferFrames: number;
  readonly #frames: number;
  readonly #device: GPUDevice;
  /** By their first frame. */
  readonly #rows = new Map<number, { readonly pages: number; readonly buffer: GPUBuffer }>();

  /** Under the caller's error scopes. */
  constructor(device: GPUDevice, shape: PoolShape, slots: number) {
    this.#device = device;
    this.#frames = shape.frames;
    this.#bufferFrames = shape.bufferFrames;
    this.buffers = framesByBuffer(shape).map((frames, i) => this.#make(`hmm pool ${i}`, frames));
    this.backups = slots === 0 ? undefined : this.#make("hmm backups", slots);
  }

  #make(label: string, frames: number): GPUBuffer {
    const usage = STORAGE | COPY_SRC | COPY_DST;
    return this.#device.createBuffer({ label, size: frames * PAGE_BYTES, usage });
  }

  /** Has buffers for exactly these rows from now on. Under the caller's error scopes. */
  haveRows(rows: readonly RowPlace[]): void {
    for (const [first, { pages, buffer }] of this.#rows) {
      if (rows.some((row) => row.first === first && row.pages === pages)) continue;
      buffer.destroy();
      this.#rows.delete(first);
    }
    for (const { first, pages } of rows)
      if (!this.#rows.has(first))
        this.#rows.set(first, { pages, buffer: this.#make("hmm row", pages) });
  }

  destroy(): void {
    this.haveRows([]);
    this.backups?.destroy();
    for (const buffer of this.buffers) buffer.destroy();
  }

  rowBuffer(first: number): GPUBuffer | undefined {
    return this.#rows.get(first)?.buffer;
  }

  /** The buffer with a frame, the frame's place there, and how many frames it has. */
  #placeOf(frame: number): { buffer: GPUBuffer; place: number; frames: number } {
    if (frame < this.#frames) {
      const place = frame % this.#bufferFrames;
      // every frame of the pool is in one of its buffers
      const buffer = this.buffers[Math.floor(frame / this.#bufferFrames)] as GPUBuffer;
      // the last buffer may be shorter, and a row's first frame has the next number
      const frames = Math.min(this.#bufferFrames, this.#frames - (frame - place));
      return { buffer, place, frames };
    }
    for (const [first, { pages, buffer }] of this.#rows)
      if (frame >= first && frame < first + pages)
        return { buffer, place: frame - first, frames: pages };
    return bug(`Cannot find frame ${frame}: no row has it`);
  }

  /** The frames, in their order, by runs. */
  runs(frames: readonly number[]): FrameRun[] {
    const runs: FrameRun[] = [];
    for (let index = 0; index < frames.length;) {
      const first = frames[index] ?? 0;
      const { buffer, place, frames: length } = this.#placeOf(first);
      let count = 1;
      while (frames[index + count] === first + count && place + count < length) count++;
      runs.push({ buffer, offsetBytes: place * PAGE_BYTES, index, count });
      index += count;
    }
    return runs;
  }
}
