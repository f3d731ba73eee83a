/**
 * @module devices/webgpu/real-gpu
 * A GPU behind WebGPU. Of the device's Worker, which owns the GPUDevice. One submit and one map for
 * a pass, one more of each for pages that are read back.
 *
 * Nothing is written from shared memory: Dawn for Node takes none. Sizes stay within the limits of
 * the specification where the budget does.
 */

import {
  type Completion,
  type DriverThread,
  PAGE_BYTES,
  type Task,
} from "../../driver-interface.ts";
import type { Bound } from "./bound.ts";
import {
  type Gpu,
  type GpuPass,
  type GpuProgram,
  LOST,
  type Lost,
  type PassResult,
} from "./gpu.ts";
import { ControlWords } from "./control-words.ts";
import { gpuAnswer } from "./gpu-answer.ts";
import { parameterWords } from "./parameters.ts";
import type { Row } from "./rows.ts";
import { popScopes } from "./error-scopes.ts";
import { FrameCopies } from "./frame-copies.ts";
import { FrameStore } from "./frame-store.ts";
import {
  CONTROL_BINDING,
  DIRTY,
  LIBRARY_GROUP,
  PARAMETERS_BINDING,
  PARAMETER_WORDS,
  type PoolShape,
  ROW_SHIFT,
  TABLE_BINDING,
  type TableLayout,
  framesByBuffer,
  poolBinding,
} from "./wgsl/layout.ts";

/** Pages that are read back in one go. */
const READ_PAGES = 2048;

// WebGPU's flags, which Node has no globals for.
const MAP_READ = 0x1;
const COPY_DST = 0x8;
const UNIFORM = 0x40;
const STORAGE = 0x80;
const MODE_READ = 0x1;

export interface RealGpuOptions {
  readonly device: GPUDevice;
  /** It is the program's: it is not destroyed. */
  readonly isOwn: boolean;
  /** Of the pool, the two frames included that hold no page. */
  readonly shape: PoolShape;
  /** Frames of rows, behind the pool's. */
  readonly rowFrames: number;
  /** Frames that can be backed up. */
  readonly slots: number;
  /** Pages that lie apart are copied by a kernel: it is no processor that plays a GPU. */
  readonly isScattering: boolean;
  readonly driver: DriverThread;
  /** As in gpu-answer.ts. */
  readonly eagerMs: number | undefined;
  /** Completions of the device's record, for waiting: for an answer, and for room to stage. */
  readonly answered: Completion;
  readonly staged: Completion;
}

/** A kernel's pipelines on a RealGpu. */
export interface RealProgram extends GpuProgram {
  /** A promise only while it is being compiled. */
  pipeline(gpu: RealGpu, isRecording: boolean): Promise<GPUComputePipeline> | GPUComputePipeline;
}

/** Memory of a GPU that could not be had. */
export class GpuMemoryError extends Error {}

export class RealGpu implements Gpu {
  readonly frames: number;
  readonly device: GPUDevice;
  isLost = false;
  readonly eagerMs: number | undefined;
  readonly #isOwn: boolean;
  readonly #driver: DriverThread;
  readonly #answered: Completion;
  readonly #staged: Completion;
  readonly shape: PoolShape;
  readonly #store: FrameStore;
  readonly #copies: FrameCopies;
  readonly #control: ControlWords;
  readonly #parameters: GPUBuffer;
  readonly #pagesRead: GPUBuffer;
  #table: GPUBuffer | undefined;
  /** The layout of the table that there is. */
  table: TableLayout = { isFlat: true, words: 0 };
  /** Bind group of the library for the table that there is. */
  #group: GPUBindGroup | undefined;
  readonly #layout: GPUBindGroupLayout;
  /**
   * What readFrames answers: a copy, for a mapped buffer loses its bytes when the GPU is given up.
   * The host commits fresh memory page by page, which takes its time, so it is kept.
   */
  #bytesRead = new Uint8Array(0);

  private constructor(options: RealGpuOptions) {
    const { device, isOwn, shape, rowFrames, slots, driver, answered, staged } = options;
    this.eagerMs = options.eagerMs;
    const { frames } = shape;
    this.device = device;
    this.#isOwn = isOwn;
    this.shape = shape;
    this.frames = frames;
    this.#driver = driver;
    this.#answered = answered;
    this.#staged = staged;
    const make = (label: string, size: number, usage: number): GPUBuffer =>
      device.createBuffer({ label, size, usage });
    this.#store = new FrameStore(device, shape, slots);
    this.#copies = new FrameCopies(device, this.#store, options.isScattering);
    this.#control = new ControlWords(device, frames, rowFrames);
    this.#parameters = make("hmm parameters", PARAMETER_WORDS * 4, UNIFORM | COPY_DST);
    const readPages = Math.min(READ_PAGES, frames + rowFrames);
    this.#pagesRead = make("hmm pages read", readPages * PAGE_BYTES, MAP_READ | COPY_DST);
    this.#layout = libraryLayout(device, shape);
    void this.#watchLoss();
  }

  /** Rejects with GpuMemoryError when the GPU has no room for it. */
  static async create(options: RealGpuOptions): Promise<RealGpu> {
    const { device } = options;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const gpu = new RealGpu(options);
    const [invalid, none] = await popScopes(device);
    const failure = none ?? invalid;
    if (failure !== null) {
      gpu.#release();
      throw new GpuMemoryError(failure.message);
    }
    return gpu;
  }

  async #watchLoss(): Promise<void> {
    await this.device.lost;
    this.isLost = true;
  }

  /** The layout of the library's bind group, for pipelines. */
  get layout(): GPUBindGroupLayout {
    return this.#layout;
  }

  /**
   * What WebGPU has against running the pipeline with these bind groups, or undefined: the sizes of
   * buffers are compared with the kernel's types only here. Nothing runs.
   */
  async refusalOf(pipeline: GPUComputePipeline, { groups }: Bound): Promise<string | undefined> {
    const { device } = this;
    device.pushErrorScope("validation");
    const encoder = device.createCommandEncoder();
    const compute = encoder.beginComputePass();
    compute.setPipeline(pipeline);
    groups.forEach((group, i) => compute.setBindGroup(i, group));
    if (this.#group !== undefined) compute.setBindGroup(LIBRARY_GROUP, this.#group);
    compute.dispatchWorkgroups(1); // encoded, and never submitted
    compute.end();
    encoder.finish();
    return (await device.popErrorScope())?.message;
  }

  /** Buffers for exactly these rows. False: the GPU has no room for them. */
  async haveRows(rows: readonly Row[]): Promise<boolean> {
    const { device } = this;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    this.#copies.submitPending(); // of rows that go
    this.#store.haveRows(rows);
    const [invalid, none] = await popScopes(device);
    if (invalid === null && none === null) return true;
    this.#store.haveRows([]);
    return false;
  }

  rowBuffer({ first }: Row): GPUBuffer | undefined {
    return this.#store.rowBuffer(first);
  }

  *haveRoom(pages: number): Task<void> {
    while (!this.isLost && !this.#copies.hasRoom(pages)) {
      this.#copies.submitPending();
      const next = this.#copies.nextRoom;
      if (next === undefined) return;
      yield* this.#await(next, this.#staged);
    }
  }

  stage(pages: number): Uint8Array<ArrayBuffer> {
    return this.#copies.stage(pages, this.isLost);
  }

  writeFrames(frames: readonly number[], bytes: Uint8Array<ArrayBuffer>): void {
    if (!this.isLost) this.#copies.write(frames, bytes);
  }

  /** When the host has all of its memory back, or the device is lost. */
  settled(): Promise<void> {
    return this.#copies.settled();
  }

  writeTable(firstWord: number, words: Uint32Array<ArrayBuffer>, layout: TableLayout): void {
    if (this.isLost) return;
    if (layout.isFlat !== this.table.isFlat || layout.words !== this.table.words)
      this.#makeTable(layout);
    if (this.#table === undefined) return;
    this.device.queue.writeBuffer(this.#table, firstWord * 4, words, 0, words.length);
  }

  #makeTable(layout: TableLayout): void {
    this.#table?.destroy();
    const size = layout.words * 4;
    const made = this.device.createBuffer({ label: "hmm table", size, usage: STORAGE | COPY_DST });
    this.#table = made;
    this.table = layout;
    this.#group = this.device.createBindGroup({
      layout: this.#layout,
      entries: [
        { binding: PARAMETERS_BINDING, resource: { buffer: this.#parameters } },
        { binding: TABLE_BINDING, resource: { buffer: made } },
        { binding: CONTROL_BINDING, resource: { buffer: this.#control.buffer } },
        ...this.#store.buffers.map((buffer, i) => ({
          binding: poolBinding(i),
          resource: { buffer },
        })),
      ],
    });
  }

  *run(pass: GpuPass): Task<PassResult | Lost> {
    const program = pass.program as RealProgram; // this GPU's, made by its owner
    const made = program.pipeline(this, pass.isRecording);
    const pipeline = made instanceof Promise ? yield* this.#await(made) : made;
    if (pipeline === LOST || this.isLost || this.#group === undefined) return LOST;
    this.device.queue.writeBuffer(this.#parameters, 0, parameterWords(pass, this.frames));
    const encoder = this.#copies.begin();
    const { isRecording, replay } = pass;
    this.#control.begin(encoder, replay);
    const bound = pass.bound as Bound | undefined; // made for this GPU
    bound?.begin(encoder);
    const compute = encoder.beginComputePass();
    compute.setPipeline(pipeline);
    bound?.groups.forEach((group, i) => compute.setBindGroup(i, group));
    compute.setBindGroup(LIBRARY_GROUP, this.#group);
    const cells = replay?.length ?? pass.end - pass.first;
    const row = 2 ** ROW_SHIFT;
    compute.dispatchWorkgroups(Math.min(cells, row), Math.ceil(cells / row));
    compute.end();
    this.#control.copy(encoder, isRecording);
    this.#copies.submit(encoder);
    const mapped = yield* this.#await(this.#control.map(isRecording));
    if (mapped === LOST || this.isLost) return LOST;
    const result = this.#control.result(isRecording);
    for (const { first, pages } of bound?.writtenRows ?? [])
      result.flags.fill(DIRTY, first, first + pages);
    return result;
  }

  backUp(frames: readonly number[], slots: readonly number[]): void {
    if (!this.isLost) this.#copies.copyBackups(frames, slots, false);
  }

  restore(frames: readonly number[], slots: readonly number[]): void {
    if (!this.isLost) this.#copies.copyBackups(frames, slots, true);
  }

  *readFrames(frames: readonly number[]): Task<Uint8Array<ArrayBuffer> | Lost> {
    const length = frames.length * PAGE_BYTES;
    if (this.#bytesRead.length < length) this.#bytesRead = new Uint8Array(length);
    const bytes = this.#bytesRead.subarray(0, length);
    for (let first = 0; first < frames.length; first += READ_PAGES) {
      const part = frames.slice(first, first + READ_PAGES);
      const into = bytes.subarray(first * PAGE_BYTES);
      if ((yield* this.#readPart(part, into)) === LOST) return LOST;
    }
    return bytes;
  }

  *#readPart(frames: readonly number[], into: Uint8Array<ArrayBuffer>): Task<Lost | undefined> {
    if (this.isLost) return LOST;
    const encoder = this.#copies.begin();
    this.#copies.gather(encoder, frames, this.#pagesRead);
    this.#copies.submit(encoder);
    const length = frames.length * PAGE_BYTES;
    const mapped = yield* this.#await(this.#pagesRead.mapAsync(MODE_READ, 0, length));
    if (mapped === LOST || this.isLost) return LOST;
    into.set(new Uint8Array(this.#pagesRead.getMappedRange(0, length)));
    this.#pagesRead.unmap();
    return undefined;
  }

  #await<T>(promise: Promise<T>, answered: Completion = this.#answered): Task<T | Lost> {
    return gpuAnswer(this, this.#driver, promise, answered);
  }

  /** Its buffers; the device is its maker's. */
  #release(): void {
    this.#store.destroy();
    this.#copies.destroy();
    this.#table?.destroy();
    this.#control.destroy();
    this.#parameters.destroy();
    this.#pagesRead.destroy();
  }

  destroy(): void {
    this.isLost = true;
    if (this.#isOwn) this.#release();
    else this.device.destroy();
  }
}

function libraryLayout(device: GPUDevice, shape: PoolShape): GPUBindGroupLayout {
  const entry = (binding: number, type: GPUBufferBindingType): GPUBindGroupLayoutEntry => ({
    binding,
    visibility: 0x4, // COMPUTE
    buffer: { type },
  });
  return device.createBindGroupLayout({
    entries: [
      entry(PARAMETERS_BINDING, "uniform"),
      entry(TABLE_BINDING, "read-only-storage"),
      entry(CONTROL_BINDING, "storage"),
      ...framesByBuffer(shape).map((_, i) => entry(poolBinding(i), "storage")),
    ],
  });
}
