/**
 * @module devices/webgpu/page-scatter
 * Copies pages that lie apart in the pool by a kernel, a workgroup for each page: to frames from
 * pages in a row, and back. To copy them by commands takes one for each run: 3 us of the host in
 * Node, and a GPU waits between two copies to one buffer. A GPU took 0.25 ms for 256 pages by a
 * kernel, and by 256 writes 1.7 ms. A processor that plays a GPU is four times as slow by a kernel
 * (25 us a page), so there it is not used. Of the device's Worker.
 *
 *     staged pages ---copy---> via ---kernel---> frames          (toFrames, copyStaged)
 *     bytes ----writeBuffer--> written ---kernel---> frames      (write, toFrames)
 *     frames ---kernel---> via ---copy---> memory that is read   (fromFrames)
 *     frames ---kernel---> backups, and back
 *
 *   O1  What a command of an encoder needs of `places` and `written` is written before the submit,
 *       and each has words of its own there until then; `begin` says that it was submitted. Later
 *       writes come behind the submit in the queue.
 *   O2  `via` is written and read by commands alone, which run in the order of their encoder.
 */

import { PAGE_BYTES } from "../../driver-interface.ts";
import type { FrameRun } from "./frame-store.ts";

/** Pages of `via`, and of `written`. */
export const SCATTERED_PAGES = 512;
/** Fewer runs are copied by commands: a dispatch, and what belongs to it, takes as long. */
const RUNS_MIN = 16;
/** Words of `places`, and of those that one dispatch can see. */
const PLACE_WORDS: number = 2 ** 15;
const WINDOW_WORDS: number = 2 * SCATTERED_PAGES;
/** A dispatch's places begin at a multiple of 256 bytes (WebGPU's limit). */
const ALIGN_WORDS = 64;

// WebGPU's flags, which Node has no globals for.
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const STORAGE = 0x80;
const COMPUTE = 0x4;

const CODE = `
@group(0) @binding(0) var<storage, read> source: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> sink: array<vec4u>;
@group(0) @binding(2) var<storage, read> places: array<vec2u>;
@compute @workgroup_size(64) fn copy_page(
  @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) i: u32) {
  let place = places[group.x] * 256u + i;
  sink[place.y] = source[place.x];
  sink[place.y + 64u] = source[place.x + 64u];
  sink[place.y + 128u] = source[place.x + 128u];
  sink[place.y + 192u] = source[place.x + 192u];
}`;

export class PageScatter {
  /** Pages on the way between frames and memory that the host sees. */
  readonly via: GPUBuffer;
  /** Pages that the host has written. */
  readonly written: GPUBuffer;
  readonly #device: GPUDevice;
  readonly #places: GPUBuffer;
  readonly #words = new Uint32Array(WINDOW_WORDS);
  readonly #layout: GPUBindGroupLayout;
  readonly #pipeline: GPUComputePipeline;
  /** By source and sink. */
  readonly #groups = new WeakMap<GPUBuffer, WeakMap<GPUBuffer, GPUBindGroup>>();
  #usedWords = 0;
  #usedPages = 0;

  /** Under the caller's error scopes. */
  constructor(device: GPUDevice) {
    this.#device = device;
    const bytes = SCATTERED_PAGES * PAGE_BYTES;
    const usage = STORAGE | COPY_SRC | COPY_DST;
    this.via = device.createBuffer({ label: "hmm pages on their way", size: bytes, usage });
    this.written = device.createBuffer({ label: "hmm pages written", size: bytes, usage });
    const size = PLACE_WORDS * 4;
    this.#places = device.createBuffer({ label: "hmm places", size, usage });
    const entry = (binding: number, type: GPUBufferBindingType): GPUBindGroupLayoutEntry => ({
      binding,
      visibility: COMPUTE,
      buffer: { type, hasDynamicOffset: binding === 2 },
    });
    this.#layout = device.createBindGroupLayout({
      entries: [entry(0, "read-only-storage"), entry(1, "storage"), entry(2, "read-only-storage")],
    });
    this.#pipeline = device.createComputePipeline({
      layout: device.createPipelineLayout({ bindGroupLayouts: [this.#layout] }),
      compute: { module: device.createShaderModule({ label: "hmm scatter", code: CODE }) },
    });
  }

  /** Whether so many runs are worth a kernel, and all that they lie in can be bound. */
  isWorth(runs: readonly FrameRun[], other: GPUBuffer): boolean {
    if (runs.length < RUNS_MIN) return false;
    const most = this.#device.limits.maxStorageBufferBindingSize;
    // The row of a range that is as long as a binding may be, and no whole pages, is longer.
    return other.size <= most && runs.every(({ buffer }) => buffer.size <= most);
  }

  /** All that was encoded has been submitted. */
  begin(): void {
    this.#usedWords = 0;
    this.#usedPages = 0;
  }

  /** Writes pages to `written`. The first one's place there; -1: it has no room (O1). */
  write(bytes: Uint8Array<ArrayBuffer>, pages: number): number {
    const first = this.#usedPages;
    if (first + pages > SCATTERED_PAGES) return -1;
    this.#usedPages += pages;
    const at = first * PAGE_BYTES;
    this.#device.queue.writeBuffer(this.written, at, bytes, 0, pages * PAGE_BYTES);
    return first;
  }

  /**
   * Encodes copies of pages between frames and `other`: that of the frame with index i of the list
   * has the place `otherPages[i]` there. Each frame stands in the list once. False: nothing was
   * encoded, for there is no room for the places.
   */
  encode(
    encoder: GPUCommandEncoder,
    runs: readonly FrameRun[],
    other: GPUBuffer,
    otherPages: ArrayLike<number>,
    isToFrames: boolean,
  ): boolean {
    const pages = runs.reduce((sum, { count }) => sum + count, 0);
    const dispatches = runs.length + pages / SCATTERED_PAGES; // at most
    const words = pages * 2 + dispatches * ALIGN_WORDS + WINDOW_WORDS;
    if (this.#usedWords + words > PLACE_WORDS) return false;
    const compute = encoder.beginComputePass();
    compute.setPipeline(this.#pipeline);
    let used = 0;
    for (const [i, { buffer, offsetBytes, index, count }] of runs.entries()) {
      const first = offsetBytes / PAGE_BYTES;
      for (let j = 0; j < count; j++) {
        const [ours, others] = [first + j, otherPages[index + j] ?? 0];
        this.#words[used++] = isToFrames ? others : ours;
        this.#words[used++] = isToFrames ? ours : others;
        const isLast = j + 1 === count && runs[i + 1]?.buffer !== buffer;
        if (!isLast && used < WINDOW_WORDS) continue;
        const [source, sink] = isToFrames ? [other, buffer] : [buffer, other];
        this.#dispatch(compute, source, sink, used);
        used = 0;
      }
    }
    compute.end();
    return true;
  }

  /** For the first `used` of `#words`. */
  #dispatch(
    compute: GPUComputePassEncoder,
    source: GPUBuffer,
    sink: GPUBuffer,
    used: number,
  ): void {
    const at = this.#usedWords * 4;
    this.#device.queue.writeBuffer(this.#places, at, this.#words, 0, used);
    this.#usedWords += Math.ceil(used / ALIGN_WORDS) * ALIGN_WORDS;
    compute.setBindGroup(0, this.#groupOf(source, sink), [at]);
    compute.dispatchWorkgroups(used / 2);
  }

  #groupOf(source: GPUBuffer, sink: GPUBuffer): GPUBindGroup {
    let ofSource = this.#groups.get(source);
    if (ofSource === undefined) this.#groups.set(source, (ofSource = new WeakMap()));
    const known = ofSource.get(sink);
    if (known !== undefined) return known;
    const made = this.#device.createBindGroup({
      layout: this.#layout,
      entries: [
        { binding: 0, resource: { buffer: source } },
        { binding: 1, resource: { buffer: sink } },
        { binding: 2, resource: { buffer: this.#places, size: WINDOW_WORDS * 4 } },
      ],
    });
    ofSource.set(sink, made);
    return made;
  }

  destroy(): void {
    this.via.destroy();
    this.written.destroy();
    this.#places.destroy();
  }
}
