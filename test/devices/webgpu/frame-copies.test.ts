/**
 * @module Copies of pages to frames, backups and back: by commands and by a kernel, against plain
 * arrays, in any order. `HMM_SEED=N` runs one seed again.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameCopies } from "../../../src/devices/webgpu/frame-copies.ts";
import { FrameStore } from "../../../src/devices/webgpu/frame-store.ts";
import { STAGED_PAGES } from "../../../src/devices/webgpu/gpu.ts";
import { type Dice, diceOf } from "../../dice.ts";
import { missingGpu, plainGpu } from "./find-gpu.ts";

const PAGE_BYTES = 4096;
const FRAMES = 256;
const ROW_PAGES = 40;
const SLOTS = 96;
const [MAP_READ, COPY_DST] = [0x1, 0x8];
const skip = missingGpu;
const seed = Number(process.env["HMM_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

async function openDevice(): Promise<GPUDevice> {
  const gpu = await plainGpu();
  const adapter = typeof gpu === "string" ? null : await gpu.requestAdapter();
  assert.ok(adapter !== null);
  return await adapter.requestDevice();
}

/**
 * Frames in three buffers of the pool, the last of which is shorter, and in a row behind them,
 * whose numbers go on; and what each of them should hold.
 */
class Bed {
  readonly device: GPUDevice;
  readonly copies: FrameCopies;
  readonly frames = new Uint32Array(FRAMES + ROW_PAGES);
  readonly slots = new Uint32Array(SLOTS);
  readonly #target: GPUBuffer;
  #next = 1;

  constructor(device: GPUDevice, isScattering: boolean) {
    this.device = device;
    const store = new FrameStore(device, { frames: FRAMES, bufferFrames: 100 }, SLOTS);
    store.haveRows([{ first: FRAMES, pages: ROW_PAGES }]);
    this.copies = new FrameCopies(device, store, isScattering);
    const size = (FRAMES + ROW_PAGES) * PAGE_BYTES;
    this.#target = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
  }

  /** Another number in the words of each page. */
  async write(frames: readonly number[], isStaged: boolean): Promise<void> {
    if (isStaged) await this.#haveRoom(frames.length);
    const bytes = isStaged
      ? this.copies.stage(frames.length, false)
      : new Uint8Array(frames.length * PAGE_BYTES);
    for (const [i, frame] of frames.entries()) {
      const value = this.#next++;
      const page = new Uint32Array(PAGE_BYTES / 4).map((_, word) => value * 1024 + word);
      bytes.set(new Uint8Array(page.buffer), i * PAGE_BYTES);
      this.frames[frame] = value;
    }
    this.copies.write(frames, bytes);
  }

  async #haveRoom(pages: number): Promise<void> {
    while (!this.copies.hasRoom(pages)) {
      this.copies.submitPending();
      await this.copies.nextRoom;
    }
  }

  copyBackups(frames: readonly number[], slots: readonly number[], isBack: boolean): void {
    this.copies.copyBackups(frames, slots, isBack);
    for (const [i, frame] of frames.entries()) {
      const slot = slots[i] ?? 0;
      if (isBack) this.frames[frame] = this.slots[slot] ?? 0;
      else this.slots[slot] = this.frames[frame] ?? 0;
    }
  }

  /** Compares what these frames hold, all of each page. */
  async check(frames: readonly number[], where: string): Promise<void> {
    const encoder = this.copies.begin();
    this.copies.gather(encoder, frames, this.#target);
    this.copies.submit(encoder);
    await this.#target.mapAsync(1);
    const words = new Uint32Array(this.#target.getMappedRange());
    for (const [i, frame] of frames.entries()) {
      const value = this.frames[frame] ?? 0;
      const page = words.subarray(i * 1024, (i + 1) * 1024);
      const isRight = page.every((word, at) => word === (value === 0 ? 0 : value * 1024 + at));
      assert.ok(isRight, `${where}: frame ${frame} has ${page[0]}, not page ${value}`);
    }
    this.#target.unmap();
  }
}

/** So many at most, each once; in order, or not. */
function someOf(count: number, most: number, dice: Dice): number[] {
  const step = 1 + dice(5);
  const all = new Set<number>();
  const [first, wanted] = [dice(count), 1 + dice(most)];
  for (let i = 0; i < wanted; i++)
    all.add(dice(4) === 0 ? dice(count) : (first + i * step) % count);
  return dice(3) === 0 ? [...all] : [...all].toSorted((a, b) => a - b);
}

for (const isScattering of [false, true])
  test(
    `pages go to their frames and back ${isScattering ? "by a kernel" : "by commands"}`,
    { skip },
    async () => {
      const device = await openDevice();
      device.pushErrorScope("validation");
      const dice = diceOf(seed);
      const bed = new Bed(device, isScattering);
      const all = FRAMES + ROW_PAGES;
      for (let round = 0; round < 200; round++) {
        const kind = dice(8);
        if (kind < 3) await bed.write(someOf(all, STAGED_PAGES, dice), true);
        else if (kind < 5) await bed.write(someOf(all, STAGED_PAGES, dice), false);
        else if (kind < 7) {
          const frames = someOf(FRAMES, 60, dice);
          const slots = someOf(SLOTS, 96, dice).slice(0, frames.length);
          bed.copyBackups(frames.slice(0, slots.length), slots, dice(2) === 0);
        } else await bed.check(someOf(all, all, dice), `HMM_SEED=${seed}, round ${round}`);
      }
      const every = Array.from({ length: all }, (_, frame) => frame);
      await bed.check(every, `HMM_SEED=${seed}, at the end`);
      await bed.check(every.toReversed(), `HMM_SEED=${seed}, backwards`);
      await bed.copies.settled();
      assert.equal(await device.popErrorScope(), null);
      bed.copies.destroy();
      device.destroy();
    },
  );

test("a row that a kernel cannot bind whole is copied by commands", { skip }, async () => {
  const device = await openDevice();
  device.pushErrorScope("validation");
  const pages = device.limits.maxStorageBufferBindingSize / PAGE_BYTES + 1;
  const store = new FrameStore(device, { frames: 8, bufferFrames: 8 }, 0);
  store.haveRows([{ first: 8, pages }]);
  const copies = new FrameCopies(device, store, true);
  const apart = Array.from({ length: 40 }, (_, i) => 8 + pages - 1 - 2 * i);
  const bytes = new Uint8Array(apart.length * PAGE_BYTES).map((_, i) => i / PAGE_BYTES + 1);
  copies.write(apart, bytes);
  const target = device.createBuffer({ size: bytes.length, usage: MAP_READ | COPY_DST });
  const encoder = copies.begin();
  copies.gather(encoder, apart, target);
  copies.submit(encoder);
  assert.equal((await device.popErrorScope())?.message, undefined);
  await target.mapAsync(1);
  assert.deepEqual(new Uint8Array(target.getMappedRange()), bytes);
  copies.destroy();
  store.destroy();
  device.destroy();
});

test(
  "a run ends with its buffer, also where a row's frame has the next number",
  { skip },
  async () => {
    const device = await openDevice();
    const store = new FrameStore(device, { frames: 10, bufferFrames: 8 }, 0);
    store.haveRows([{ first: 10, pages: 4 }]);
    const runs = store.runs([6, 7, 8, 9, 10, 11]);
    assert.deepEqual(
      runs.map(({ offsetBytes, index, count }) => [offsetBytes / PAGE_BYTES, index, count]),
      [
        [6, 0, 2],
        [0, 2, 2],
        [0, 4, 2],
      ],
    );
    device.destroy();
  },
);
