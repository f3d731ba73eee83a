/**
 * @module devices/webgpu/real-program
 * A kernel's pipelines on a GPU: one for each kind of pass, compiled when first needed, and again
 * on the GPU that replaces a lost one. Of the device's Worker.
 */

import type { RealGpu, RealProgram } from "./real-gpu.ts";
import { errorsOf } from "./wgsl/diagnostics.ts";
import { LIBRARY_GROUP, type TableLayout } from "./wgsl/layout.ts";
import { type Program, WgslError, makeProgram } from "./wgsl/program.ts";

interface Pipelines {
  readonly gpu: RealGpu;
  readonly table: TableLayout;
  readonly made: Map<boolean, Promise<GPUComputePipeline>>;
}

export class WgslProgram implements RealProgram {
  readonly name: string;
  readonly #program: Program;
  #pipelines: Pipelines | undefined;

  /** Throws WgslError. */
  constructor(code: string, entryPoint: string) {
    this.name = entryPoint;
    this.#program = makeProgram(code, entryPoint);
  }

  /** Rejects with WgslError when it does not compile. */
  pipeline(gpu: RealGpu, isRecording: boolean): Promise<GPUComputePipeline> {
    const { table } = gpu;
    if (this.#pipelines?.gpu !== gpu || this.#pipelines.table !== table)
      this.#pipelines = { gpu, table, made: new Map() };
    const { made } = this.#pipelines;
    let pipeline = made.get(isRecording);
    if (pipeline === undefined) made.set(isRecording, (pipeline = this.#make(gpu, isRecording)));
    return pipeline;
  }

  async #make(gpu: RealGpu, isRecording: boolean): Promise<GPUComputePipeline> {
    const { device, layout } = gpu;
    const code = this.#program.text(isRecording, gpu.table, gpu.frames);
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: this.name, code });
    const { messages } = await module.getCompilationInfo();
    await device.popErrorScope();
    const errors = errorsOf(this.#program, messages);
    if (errors.length > 0) throw new WgslError(errors);
    const empty = device.createBindGroupLayout({ entries: [] });
    const bindGroupLayouts = Array.from({ length: LIBRARY_GROUP }, () => empty);
    bindGroupLayouts.push(layout);
    const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts });
    return await device.createComputePipelineAsync({
      layout: pipelineLayout,
      compute: { module, entryPoint: "hmm_main" },
    });
  }
}
