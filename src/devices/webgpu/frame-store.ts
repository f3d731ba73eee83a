/**
 * @module devices/webgpu/frame-store
 * Where the frames of a GPU lie: in the pool, which is one buffer where the adapter binds so much,
 * else several. Of the device's Worker.
 */

import { PAGE_BYTES } from "../../driver-interface.ts";
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

export class FrameStore {
  /** Of the pool, in the order of their frames. */
  readonly buffers: readonly GPUBuffer[];
  readonly #bufferFrames: number;

  /** Under the caller's error scopes. */
  constructor(device: GPUDevice, shape: PoolShape) {
    const usage = STORAGE | COPY_SRC | COPY_DST;
    this.#bufferFrames = shape.bufferFrames;
    this.buffers = framesByBuffer(shape).map((frames, i) =>
      device.createBuffer({ label: `hmm pool ${i}`, size: frames * PAGE_BYTES, usage }),
    );
  }

  /** The frames, in their order, by runs. */
  *runs(frames: readonly number[]): Generator<FrameRun> {
    for (let index = 0; index < frames.length;) {
      const first = frames[index] ?? 0;
      const place = first % this.#bufferFrames;
      let count = 1;
      while (frames[index + count] === first + count && place + count < this.#bufferFrames) count++;
      // every frame of the pool is in one of its buffers
      const buffer = this.buffers[Math.floor(first / this.#bufferFrames)] as GPUBuffer;
      yield { buffer, offsetBytes: place * PAGE_BYTES, index, count };
      index += count;
    }
  }
}
