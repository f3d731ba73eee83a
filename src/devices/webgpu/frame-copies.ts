/**
 * @module devices/webgpu/frame-copies
 * Copies of pages to frames, from frames and between frames and their backups, and when they are
 * submitted: with the next pass, or the next page that is read. So a submit, which costs more than
 * the copies of a few pages, is seldom theirs alone. Pages that lie in a row are one command; those
 * that lie apart go by a kernel where a GPU runs it (page-scatter.ts). Of the device's Worker.
 */

import { PAGE_BYTES } from "../../driver-interface.ts";
import type { FrameRun, FrameStore } from "./frame-store.ts";
import { STAGED_PAGES } from "./gpu.ts";
import { PageScatter, SCATTERED_PAGES } from "./page-scatter.ts";
import { Staging } from "./staging.ts";

export class FrameCopies {
  readonly #device: GPUDevice;
  readonly #store: FrameStore;
  readonly #staging: Staging;
  readonly #scatter: PageScatter | undefined;
  /** Where pages are not staged. */
  readonly #unstaged = new Uint8Array(STAGED_PAGES * PAGE_BYTES);
  /** Copies that are not submitted yet, in the order in which frames were written. */
  #pending: GPUCommandEncoder | undefined;

  /** Under the caller's error scopes. `isScattering`: pages that lie apart go by a kernel. */
  constructor(device: GPUDevice, store: FrameStore, isScattering: boolean) {
    this.#device = device;
    this.#store = store;
    this.#staging = new Staging(device);
    this.#scatter = isScattering ? new PageScatter(device) : undefined;
  }

  /** Whether there is room to stage so many pages, STAGED_PAGES at most. */
  hasRoom(pages: number): boolean {
    return this.#staging.hasRoom(pages * PAGE_BYTES);
  }

  /** When there is more room than now; undefined: it does not come. */
  get nextRoom(): Promise<void> | undefined {
    return this.#staging.nextBack;
  }

  /** Room for so many pages that `write` takes; `isGone`: the GPU is, and with it its memory. */
  stage(pages: number, isGone: boolean): Uint8Array<ArrayBuffer> {
    const length = pages * PAGE_BYTES;
    const room = isGone ? undefined : this.#staging.take(length);
    return room ?? this.#unstaged.subarray(0, length);
  }

  /** `frames.length` pages from `bytes`, staged or not. */
  write(frames: readonly number[], bytes: Uint8Array<ArrayBuffer>): void {
    const runs = this.#store.runs(frames);
    const staged = this.#staging.use(bytes, frames.length * PAGE_BYTES);
    if (staged === undefined) {
      this.#writeUnstaged(runs, bytes, frames.length);
      return;
    }
    const { buffer: from, offsetBytes: fromBytes } = staged;
    if (!this.#scatterStaged(runs, from, fromBytes, frames.length))
      for (const { buffer, offsetBytes, index, count } of runs) {
        const [at, size] = [fromBytes + index * PAGE_BYTES, count * PAGE_BYTES];
        this.#encoder().copyBufferToBuffer(from, at, buffer, offsetBytes, size);
      }
    // While the GPU copies, the next buffer is filled.
    if (this.#staging.isFullFor(STAGED_PAGES * PAGE_BYTES)) this.submitPending();
  }

  #scatterStaged(
    runs: readonly FrameRun[],
    from: GPUBuffer,
    fromBytes: number,
    pages: number,
  ): boolean {
    const scatter = this.#scatter;
    if (scatter?.isWorth(runs, scatter.via) !== true) return false;
    const encoder = this.#encoder();
    encoder.copyBufferToBuffer(from, fromBytes, scatter.via, 0, pages * PAGE_BYTES);
    return scatter.encode(encoder, runs, scatter.via, pagesFrom(0, pages), true);
  }

  #writeUnstaged(runs: readonly FrameRun[], bytes: Uint8Array<ArrayBuffer>, pages: number): void {
    if (this.#scatterUnstaged(runs, bytes, pages)) return;
    this.submitPending(); // of the same frames, perhaps
    for (const { buffer, offsetBytes, index, count } of runs) {
      const [at, length] = [index * PAGE_BYTES, count * PAGE_BYTES];
      this.#device.queue.writeBuffer(buffer, offsetBytes, bytes, at, length);
    }
  }

  #scatterUnstaged(
    runs: readonly FrameRun[],
    bytes: Uint8Array<ArrayBuffer>,
    pages: number,
  ): boolean {
    const scatter = this.#scatter;
    if (scatter?.isWorth(runs, scatter.written) !== true) return false;
    const first = scatter.write(bytes, pages);
    if (first < 0) return false;
    return scatter.encode(this.#encoder(), runs, scatter.written, pagesFrom(first, pages), true);
  }

  /** Frames, which are ascending, to these slots of their backups, or back. */
  copyBackups(frames: readonly number[], slots: readonly number[], isBack: boolean): void {
    const { backups } = this.#store;
    if (backups === undefined) return;
    const encoder = this.#encoder();
    const runs = this.#store.runs(frames);
    const scatter = this.#scatter;
    const isWorth = scatter?.isWorth(runs, backups) === true;
    if (isWorth && scatter.encode(encoder, runs, backups, slots, isBack)) return;
    for (const { buffer, offsetBytes, index, count } of runs) {
      for (let i = index, next = i; i < index + count; i = next) {
        const slot = slots[i] ?? 0;
        while (next < index + count && slots[next] === slot + next - i) next++;
        const at = offsetBytes + (i - index) * PAGE_BYTES;
        const [from, to] = isBack ? [backups, buffer] : [buffer, backups];
        const [fromAt, toAt] = isBack ? [slot * PAGE_BYTES, at] : [at, slot * PAGE_BYTES];
        encoder.copyBufferToBuffer(from, fromAt, to, toAt, (next - i) * PAGE_BYTES);
      }
    }
  }

  /** Encodes copies of frames to pages in a row, at the beginning of `target`. */
  gather(encoder: GPUCommandEncoder, frames: readonly number[], target: GPUBuffer): void {
    for (let first = 0; first < frames.length; first += SCATTERED_PAGES) {
      const part = frames.slice(first, first + SCATTERED_PAGES);
      this.#gatherPart(encoder, part, target, first * PAGE_BYTES);
    }
  }

  #gatherPart(
    encoder: GPUCommandEncoder,
    frames: readonly number[],
    target: GPUBuffer,
    targetBytes: number,
  ): void {
    const scatter = this.#scatter;
    const runs = this.#store.runs(frames);
    const pages = frames.length;
    const isWorth = scatter?.isWorth(runs, scatter.via) === true;
    if (isWorth && scatter.encode(encoder, runs, scatter.via, pagesFrom(0, pages), false)) {
      encoder.copyBufferToBuffer(scatter.via, 0, target, targetBytes, pages * PAGE_BYTES);
      return;
    }
    for (const { buffer, offsetBytes, index, count } of runs) {
      const [to, size] = [targetBytes + index * PAGE_BYTES, count * PAGE_BYTES];
      encoder.copyBufferToBuffer(buffer, offsetBytes, target, to, size);
    }
  }

  #encoder(): GPUCommandEncoder {
    return (this.#pending ??= this.#device.createCommandEncoder());
  }

  /** For commands behind the copies that are still to be submitted; pairs with `submit`. */
  begin(): GPUCommandEncoder {
    const encoder = this.#encoder();
    this.#pending = undefined;
    return encoder;
  }

  submit(encoder: GPUCommandEncoder): void {
    this.#staging.unmap();
    this.#device.queue.submit([encoder.finish()]);
    this.#staging.mapAgain();
    this.#scatter?.begin();
  }

  submitPending(): void {
    if (this.#pending !== undefined) this.submit(this.begin());
  }

  /** When the host has all of its memory back, or the device is lost. */
  settled(): Promise<void> {
    return this.#staging.settled();
  }

  destroy(): void {
    this.#staging.destroy();
    this.#scatter?.destroy();
  }
}

const rowOfPages: Uint32Array = Uint32Array.from({ length: SCATTERED_PAGES }, (_, i) => i);

/** The places `first`, `first + 1` and so on. */
function pagesFrom(first: number, pages: number): Uint32Array {
  return rowOfPages.subarray(first, first + pages);
}
