/**
 * @module What a program would write by hand: WebGPU with plain buffers, uploads and dispatches.
 * The peer of the figures about the WebGPU device.
 */

import { eagerMsOn, paceTurns } from "../src/devices/webgpu/turn-pace.ts";
import type { WebGpuDevice } from "../src/webgpu.ts";
import { plainGpu } from "../test/devices/webgpu/find-gpu.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { type Side, measurePairs } from "./pairs.ts";
import { roundCounter } from "./round-counter.ts";

/** Which adapter gave a figure. */
export function adapterName({ adapter }: Pick<WebGpuDevice, "adapter">): string {
  return adapter.architecture || adapter.device || adapter.description || adapter.vendor;
}

const STORAGE = 0x80;
const COPY_DST = 0x8;
const COPY_SRC = 0x4;
const MAP_READ = 0x1;

/** Bytes that are handed to `writeBuffer` at once: Dawn for Node takes no shared memory. */
const STAGE_BYTES: number = 4 * 2 ** 20;

/** A GPUDevice of this thread. */
export class PlainDevice {
  readonly device: GPUDevice;
  readonly #done: GPUBuffer;
  readonly #stage = new Uint8Array(STAGE_BYTES);
  readonly #eagerMs: number;

  private constructor(device: GPUDevice, eagerMs: number) {
    this.device = device;
    this.#eagerMs = eagerMs;
    this.#done = device.createBuffer({ size: 16, usage: MAP_READ | COPY_DST });
  }

  /** With limits for one buffer of `bytes`. Throws what is missing. */
  static async create(bytes: number): Promise<PlainDevice> {
    const gpu = await plainGpu();
    if (typeof gpu === "string") throw new Error(gpu);
    const adapter = await gpu.requestAdapter();
    if (adapter === null) throw new Error("no WebGPU adapter");
    const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    const requiredLimits = {
      maxBufferSize: Math.min(maxBufferSize, Math.max(bytes, 2 ** 28)),
      maxStorageBufferBindingSize: Math.min(maxStorageBufferBindingSize, Math.max(bytes, 2 ** 27)),
    };
    const device = await adapter.requestDevice({ requiredLimits });
    return new PlainDevice(device, eagerMsOn(adapter.info));
  }

  buffer(bytes: number): GPUBuffer {
    return this.device.createBuffer({ size: bytes, usage: STORAGE | COPY_DST | COPY_SRC });
  }

  /** Copies shared memory to a buffer, by way of memory that is not. */
  upload(buffer: GPUBuffer, at: number, from: Uint8Array): void {
    for (let done = 0; done < from.length; done += STAGE_BYTES) {
      const part = from.subarray(done, done + STAGE_BYTES);
      this.#stage.set(part);
      this.device.queue.writeBuffer(buffer, at + done, this.#stage, 0, part.length);
    }
  }

  write(buffer: GPUBuffer, words: Uint32Array<ArrayBuffer>): void {
    this.device.queue.writeBuffer(buffer, 0, words);
  }

  async pipeline(code: string): Promise<GPUComputePipeline> {
    const module = this.device.createShaderModule({ code });
    const descriptor = { layout: "auto" as const, compute: { module } };
    return await this.device.createComputePipelineAsync(descriptor);
  }

  /** Runs it over `buffers` as bindings 0, 1 and so on, until it is over. */
  async run(
    pipeline: GPUComputePipeline,
    buffers: readonly GPUBuffer[],
    workgroups: number,
  ): Promise<void> {
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const layout = pipeline.getBindGroupLayout(0);
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.device.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(Math.min(workgroups, 32768), Math.ceil(workgroups / 32768));
    pass.end();
    const [first] = buffers;
    if (first !== undefined) encoder.copyBufferToBuffer(first, 0, this.#done, 0, 16);
    this.device.queue.submit([encoder.finish()]);
    await this.answer(this.#done.mapAsync(1));
    this.#done.unmap();
  }

  /** Waits as our device does: else the loop of this thread would take the processor from both. */
  async answer(promise: Promise<unknown>): Promise<void> {
    let isAnswered = false;
    paceTurns(this.#eagerMs, () => isAnswered);
    try {
      await promise;
    } finally {
      isAnswered = true;
    }
  }

  destroy(): void {
    this.device.destroy();
  }
}

/** Ours in milliseconds against the same by hand; the ratio is how many times as fast ours is. */
export async function measureByHand(
  label: string,
  ours: Side,
  byHand: Side,
  options: MeasureOptions,
): Promise<Measurement> {
  const rounds = options.isQuick ? 1 : 5;
  const reading = await measurePairs({
    label,
    unit: "ms",
    ours,
    plain: byHand,
    ratioOf: (oursMs, handMs) => handMs / oursMs,
    rounds,
    onRound: roundCounter(rounds, options),
  });
  return { readings: [reading] };
}
