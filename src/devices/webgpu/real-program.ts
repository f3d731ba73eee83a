/**
 * @module devices/webgpu/real-program
 * A kernel's pipelines on a GPU: one for each kind of pass, compiled when first needed, and again
 * on the GPU that replaces a lost one. Of the device's Worker.
 */

import { HmmError } from "../../driver-interface.ts";
import { type BindRequest, Bound } from "./bound.ts";
import { plainMessage } from "./error-scopes.ts";
import type { RealGpu, RealProgram } from "./real-gpu.ts";
import type { BoundKind, BoundVariable } from "./wgsl/bindings.ts";
import { WgslError, errorsOf } from "./wgsl/diagnostics.ts";
import {
  LIBRARY_GROUP,
  OTHER_STORAGE_BUFFERS,
  type PoolShape,
  type TableLayout,
  framesByBuffer,
} from "./wgsl/layout.ts";
import { type Program, makeProgram } from "./wgsl/program.ts";

interface Pipelines {
  readonly gpu: RealGpu;
  readonly table: TableLayout;
  readonly made: Map<boolean, Promise<GPUComputePipeline> | GPUComputePipeline>;
  /** Of the groups that are the user's. */
  readonly layouts: readonly GPUBindGroupLayout[];
}

type Orders = Omit<BindRequest, "device" | "variables" | "layouts">;

const COMPUTE = 0x4;

export class WgslProgram implements RealProgram {
  readonly name: string;
  readonly #program: Program;
  #pipelines: Pipelines | undefined;

  /** Throws WgslError. */
  constructor(code: string, entryPoint: string, isDeclaredPure: boolean) {
    this.name = entryPoint;
    this.#program = makeProgram(code, entryPoint, isDeclaredPure);
  }

  /**
   * A promise only while it is being compiled: it rejects with WgslError when that fails. To wait
   * takes a turn of the event loop, which each pass would need.
   */
  pipeline(gpu: RealGpu, isRecording: boolean): Promise<GPUComputePipeline> | GPUComputePipeline {
    const { made, layouts } = this.#pipelinesOn(gpu);
    const known = made.get(isRecording);
    if (known !== undefined) return known;
    const compiled = this.#make(gpu, isRecording, layouts).then((pipeline) => {
      made.set(isRecording, pipeline);
      return pipeline;
    });
    made.set(isRecording, compiled);
    return compiled;
  }

  get isPure(): boolean {
    return this.#program.isPure;
  }

  /** Variables of the user's own. */
  get variables(): readonly BoundVariable[] {
    return this.#program.variables;
  }

  /** Undefined where the kernel has no variables of its own. Rejects as Bound does. */
  async bind(gpu: RealGpu, request: Orders): Promise<Bound | undefined> {
    const { variables } = this.#program;
    if (variables.length === 0 && Object.keys(request.orders).length === 0) return undefined;
    const { layouts } = this.#pipelinesOn(gpu);
    const bound = await Bound.create({ device: gpu.device, variables, layouts, ...request });
    const refusal = await gpu.refusalOf(await this.pipeline(gpu, false), bound);
    if (refusal === undefined) return bound;
    bound.end();
    const text = `Cannot bind what the kernel needs: ${plainMessage(refusal)}`;
    throw new HmmError("EINVAL", "dispatch", text);
  }

  #pipelinesOn(gpu: RealGpu): Pipelines {
    const { table, device } = gpu;
    const old = this.#pipelines;
    if (old?.gpu === gpu && old.table === table) return old;
    const { variables } = this.#program;
    refuseTooMany(variables, device.limits, gpu.shape);
    const layouts = this.#layoutsOn(device);
    return (this.#pipelines = { gpu, table, made: new Map(), layouts });
  }

  /** Of the user's groups. What is wrong with one, the compiler or the pipeline says. */
  #layoutsOn(device: GPUDevice): GPUBindGroupLayout[] {
    const { variables, entry } = this.#program;
    try {
      return Array.from({ length: LIBRARY_GROUP }, (_, group) =>
        device.createBindGroupLayout({
          entries: variables
            .filter((variable) => variable.group === group)
            .map(({ binding, layout }) => ({ binding, visibility: COMPUTE, ...layout })),
        }),
      );
    } catch (error) {
      const { line, column } = variables.find(({ layout }) => "storageTexture" in layout) ?? entry;
      throw new WgslError([{ line, column, message: String(error) }]);
    }
  }

  async #make(
    gpu: RealGpu,
    isRecording: boolean,
    layouts: readonly GPUBindGroupLayout[],
  ): Promise<GPUComputePipeline> {
    const { device, layout } = gpu;
    const code = this.#program.text(isRecording, gpu.table, gpu.shape);
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: this.name, code });
    const [{ messages }] = await Promise.all([module.getCompilationInfo(), device.popErrorScope()]);
    const errors = errorsOf(this.#program, messages);
    if (errors.length > 0) throw new WgslError(errors);
    const bindGroupLayouts = [...layouts, layout];
    const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts });
    try {
      return await device.createComputePipelineAsync({
        layout: pipelineLayout,
        compute: { module, entryPoint: "hmm_main" },
      });
    } catch (error) {
      if (gpu.isLost || !(error instanceof Error)) throw error;
      const message = plainMessage(error.message);
      throw new WgslError([{ ...this.#program.entry, message }]);
    }
  }
}

/** What an adapter may have too few of, and how many the library takes. */
const COUNTED: readonly {
  readonly kinds: readonly BoundKind[];
  readonly limit: keyof GPUSupportedLimits & `max${string}`;
  readonly own: number;
  readonly what: string;
}[] = [
  {
    kinds: ["read", "write"],
    limit: "maxStorageBuffersPerShaderStage",
    own: OTHER_STORAGE_BUFFERS,
    what: "storage buffers",
  },
  {
    kinds: ["uniform"],
    limit: "maxUniformBuffersPerShaderStage",
    own: 1,
    what: "uniform buffers",
  },
  {
    kinds: ["texture"],
    limit: "maxSampledTexturesPerShaderStage",
    own: 0,
    what: "textures",
  },
  { kinds: ["sampler"], limit: "maxSamplersPerShaderStage", own: 0, what: "samplers" },
];

/** Throws WgslError at the first variable that is one too many for the adapter. */
function refuseTooMany(
  variables: readonly BoundVariable[],
  limits: GPUSupportedLimits,
  pool: PoolShape,
): void {
  for (const { kinds, limit, own, what } of COUNTED) {
    const ofPool = kinds.includes("write") ? framesByBuffer(pool).length : 0;
    const most = Math.max(0, Number(limits[limit]) - own - ofPool);
    const extra = variables.filter(({ kind }) => kinds.includes(kind))[most];
    if (extra === undefined) continue;
    const { name, line, column } = extra;
    const message = `"${name}" is one too many: the adapter has room for ${most} ${what} here`;
    throw new WgslError([{ line, column, message }]);
  }
}
