/**
 * @module What it costs that a pass can be undone: a kernel that stores to all of its pages, all of
 * them resident, on the WebGPU device, against the same kernel through a page table by hand, which
 * nobody could undo. With pages that stay on the GPU, each dispatch copies them aside first; with
 * pages of RAM there are no backups, and what was stored is read back at the end.
 */

import { AddressSpace } from "../src/index.ts";
import { WebGpuDevice, type WebGpuKernel } from "../src/webgpu.ts";
import { parameterWords } from "../src/devices/webgpu/parameters.ts";
import {
  CONTROL_BINDING,
  FIRST_FRAME,
  GPU_FRAME_SHIFT,
  GPU_READ,
  GPU_WRITE,
  LIBRARY_GROUP,
  PARAMETERS_BINDING,
  PARAMETER_WORDS,
  TABLE_BINDING,
  controlWords,
  poolBinding,
} from "../src/devices/webgpu/wgsl/layout.ts";
import { makeProgram } from "../src/devices/webgpu/wgsl/program.ts";
import { missingGpu } from "../test/devices/webgpu/find-gpu.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { type Side, measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";
import { PlainDevice, adapterName } from "./webgpu-plain.ts";

const PAGE_BYTES = 4096;
const MiB: number = 2 ** 20;
/** Rounds of arithmetic for each word, so that a run outweighs submit and map. */
const ROUNDS = 16;
/** Dispatches after which the device knows how long a chunk takes. */
const WARM_RUNS = 6;

/** Each invocation changes one word in place. */
const CODE = `
@compute @workgroup_size(64) fn main(@builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) i: u32) {
  let p = ptr_at(arg_ptr(0), group.x * 64u + i, 4u);
  var x = load_u32(p);
  for (var r = 0u; r < ${ROUNDS}u; r++) { x = x * 1664525u + load_u32(p) + 1013904223u; }
  store_u32(p, x);
}`;

/** The kernel through a page table, as the device's fast pass runs it, and no more. */
class PlainPaged {
  readonly #plain: PlainDevice;
  readonly #pipeline: GPUComputePipeline;
  readonly #group: GPUBindGroup;
  readonly #control: GPUBuffer;
  readonly #head: GPUBuffer;
  readonly #workgroups: number;

  private constructor(
    plain: PlainDevice,
    pipeline: GPUComputePipeline,
    buffers: Readonly<Record<"parameters" | "table" | "pool" | "control", GPUBuffer>>,
    workgroups: number,
  ) {
    this.#plain = plain;
    this.#pipeline = pipeline;
    this.#control = buffers.control;
    this.#head = plain.device.createBuffer({ size: 16, usage: 0x1 | 0x8 });
    this.#workgroups = workgroups;
    this.#group = plain.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(LIBRARY_GROUP),
      entries: [
        { binding: PARAMETERS_BINDING, resource: { buffer: buffers.parameters } },
        { binding: TABLE_BINDING, resource: { buffer: buffers.table } },
        { binding: poolBinding(0), resource: { buffer: buffers.pool } },
        { binding: CONTROL_BINDING, resource: { buffer: buffers.control } },
      ],
    });
  }

  static async open(bytes: number, workgroups: number): Promise<PlainPaged> {
    const frames = bytes / PAGE_BYTES + FIRST_FRAME;
    const table = Uint32Array.from({ length: 2 ** 18 }, (_, page) =>
      page < frames - FIRST_FRAME
        ? ((page + FIRST_FRAME) << GPU_FRAME_SHIFT) | GPU_READ | GPU_WRITE
        : 0,
    );
    const plain = await PlainDevice.create(frames * PAGE_BYTES);
    const shape = { frames, bufferFrames: frames };
    const layout = { isFlat: true, words: table.length };
    const pipeline = await plain.pipeline(makeProgram(CODE, "main").text(false, layout, shape));
    const parameters = plain.device.createBuffer({
      size: PARAMETER_WORDS * 4,
      usage: 0x40 | 0x8,
    });
    const buffers = {
      parameters,
      table: plain.buffer(table.byteLength),
      pool: plain.buffer(frames * PAGE_BYTES),
      control: plain.buffer(controlWords(frames) * 4),
    };
    plain.write(buffers.table, table);
    const pass = {
      program: { name: "main" },
      first: 0,
      end: workgroups,
      groups: [workgroups, 1, 1] as const,
      isRecording: false,
      isUseNoted: false,
      isTouch: false,
      replay: undefined,
      fuel: 2 ** 20,
      args: [0],
      window: 0,
      bound: undefined,
    };
    plain.write(parameters, parameterWords(pass, frames));
    return new PlainPaged(plain, pipeline, buffers, workgroups);
  }

  async run(): Promise<void> {
    const { device } = this.#plain;
    const encoder = device.createCommandEncoder();
    encoder.clearBuffer(this.#control);
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.#pipeline);
    pass.setBindGroup(LIBRARY_GROUP, this.#group);
    pass.dispatchWorkgroups(Math.min(this.#workgroups, 32768), Math.ceil(this.#workgroups / 32768));
    pass.end();
    encoder.copyBufferToBuffer(this.#control, 0, this.#head, 0, 16);
    device.queue.submit([encoder.finish()]);
    await this.#plain.answer(this.#head.mapAsync(1));
    const [missed] = new Uint32Array(this.#head.getMappedRange());
    this.#head.unmap();
    if (missed !== 0) throw new Error("a page was missed, and all are there");
  }

  destroy(): void {
    this.#plain.destroy();
  }
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}

export async function measureBackups(options: MeasureOptions): Promise<Measurement> {
  if (missingGpu !== false) return { notMeasured: missingGpu };
  const bytes = options.isQuick ? MiB : 8 * MiB;
  const workgroups = bytes / 256;
  const plain = await PlainPaged.open(bytes, workgroups);
  const rounds = roundsOf(options);
  const onRound = roundCounter(rounds * 2, options);
  const readings: Reading[] = [];
  for (const memory of ["private", "ram"] as const) {
    const space = await AddressSpace.create({ ramBytes: 2 * bytes + 16 * MiB });
    const address = await space.mmap(bytes);
    const memoryBytes = memory === "private" ? 2 * bytes + 2 * MiB : bytes + MiB;
    // a quarter is for backups: room for those of all pages
    const device = await WebGpuDevice.create(space, {
      memoryBytes: memory === "private" ? memoryBytes * 2 + MiB : memoryBytes,
      memory,
    });
    const kernel: WebGpuKernel = device.kernel({ code: CODE, entryPoint: "main" });
    const ours: Side = () => timed(() => kernel.dispatch(workgroups, { args: [address] }));
    for (let i = 0; i < WARM_RUNS; i++) await ours();
    await plain.run();
    const how = memory === "private" ? "backups on the GPU" : "stores read back to RAM";
    readings.push(
      await measurePairs({
        label: `${bytes / MiB} MiB changed in place, ${how}, on ${adapterName(device)}`,
        unit: "ms",
        ours,
        plain: () => timed(() => plain.run()),
        rounds,
        onRound,
        isBound: memory === "private",
      }),
    );
    await device[Symbol.asyncDispose]();
    await space[Symbol.asyncDispose]();
  }
  plain.destroy();
  return { readings };
}
