/**
 * @module devices/webgpu/adapter
 * Where WebGPU comes from: `navigator.gpu` of a browser's Worker, npm's `webgpu` in Node. And what
 * an adapter must have for a device of a given size. Of the device's Worker.
 */

import { HmmError, PAGE_BYTES } from "../../driver-interface.ts";
import type { AdapterChoice, AdapterReport } from "./messages.ts";
import { eagerMsOn } from "./turn-pace.ts";
import {
  DIRECTORY_WORDS,
  LEAF_ENTRIES,
  OTHER_STORAGE_BUFFERS,
  type PoolShape,
  controlWords,
  framesByBuffer,
} from "./wgsl/layout.ts";

const CHECK_DRIVER =
  "check the graphics driver (in Node a Vulkan loader, as libvulkan1, and what it finds)";

/** Dawn's object must stay reachable as long as anything that it made. */
let dawn: GPU | undefined;

async function findGpu({ nodeFlags = [] }: AdapterChoice): Promise<GPU> {
  const scope = globalThis as { navigator?: { gpu?: GPU } };
  if (scope.navigator?.gpu !== undefined) return scope.navigator.gpu;
  if (typeof process === "undefined" || process.versions?.node === undefined)
    throw noGpu("this browser's Workers have no WebGPU; use one that has, and serve over https");
  if (dawn !== undefined) return dawn;
  // A bundler shall not look for it.
  const name = "webgpu";
  let loaded: { create: (flags: readonly string[]) => GPU; globals: object };
  try {
    loaded = (await import(/* @vite-ignore */ name)) as typeof loaded;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw noGpu(`npm's package webgpu cannot be loaded (${why}); run npm install webgpu`);
  }
  Object.assign(globalThis, loaded.globals);
  dawn = loaded.create(nodeFlags);
  return dawn;
}

function noGpu(why: string): HmmError {
  return new HmmError("ENODEV", "device", `Cannot make the device: ${why}`);
}

/** A device of the adapter, and what it says of itself. */
export interface Acquired {
  readonly device: GPUDevice;
  readonly report: AdapterReport;
  /** As in gpu-answer.ts. */
  readonly eagerMs: number | undefined;
  /** Copies between its buffers are better by a kernel where there are many (page-scatter.ts). */
  readonly isScattering: boolean;
  /** Leaves that the page table may have. */
  readonly leavesMax: number;
  /** The pool's shapes, the best one first: drivers may fail at large buffers. */
  readonly pools: readonly PoolShape[];
}

/**
 * Rejects with HmmError ENODEV (there is none, or it never comes), EINVAL (it cannot bind so much).
 */
export async function acquireDevice(
  choice: AdapterChoice,
  frames: number,
  rowFrames: number,
): Promise<Acquired> {
  const gpu = await findGpu(choice);
  const adapter = await within(
    choice.timeoutMs,
    gpu.requestAdapter({
      ...(choice.powerPreference === undefined ? {} : { powerPreference: choice.powerPreference }),
      forceFallbackAdapter: choice.forceFallback,
    }),
  );
  if (adapter === undefined || adapter === null)
    throw noGpu(`no adapter was found; ${CHECK_DRIVER}`);
  const { limits } = adapter;
  const pools = poolsOn(adapter.info, poolShapesFor(limits, frames, choice.bufferBytesMax));
  const bytesMax = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
  const rowBytes = Math.min(rowFrames * PAGE_BYTES, bytesMax); // all of them may be one range
  const poolBytes = (pools[0]?.bufferFrames ?? 0) * PAGE_BYTES;
  const bytes = Math.max(poolBytes, rowBytes, controlWords(frames) * 4);
  const device = await within(
    choice.timeoutMs,
    adapter.requestDevice({
      requiredLimits: limitsFor(limits, bytes),
      requiredFeatures: KERNEL_FEATURES.filter((feature) => adapter.features.has(feature)),
    }),
  );
  if (device === undefined) throw noGpu("the adapter gave no device in time; try again");
  const eagerMs = gpu === dawn ? eagerMsOn(adapter.info) : undefined;
  return {
    device,
    pools,
    report: reportOf(adapter.info),
    isScattering: isGpu(adapter.info),
    leavesMax: leavesOf(device),
    eagerMs,
  };
}

function reportOf({ vendor, architecture, device, description }: GPUAdapterInfo): AdapterReport {
  return { vendor, architecture, device, description };
}

/** An adapter that does not say what it is is taken for a processor that plays a GPU. */
function isGpu(info: GPUAdapterInfo | undefined): boolean {
  return info?.isFallbackAdapter === false;
}

/**
 * Where a GPU runs the shader: on a processor the comparison that an array without a fixed size
 * needs is the compiler's.
 */
function poolsOn(info: GPUAdapterInfo | undefined, shapes: readonly PoolShape[]): PoolShape[] {
  return shapes.map((shape) => ({ ...shape, isUnsized: isGpu(info) }));
}

function leavesOf({ limits }: GPUDevice): number {
  return Math.floor((limits.maxStorageBufferBindingSize / 4 - DIRECTORY_WORDS) / LEAF_ENTRIES);
}

/** A device of the program's own. Throws HmmError EINVAL when it was made with too small limits. */
export function useDevice(device: GPUDevice, choice: AdapterChoice, frames: number): Acquired {
  const { limits, adapterInfo } = device as Omit<GPUDevice, "adapterInfo"> & {
    readonly adapterInfo: GPUAdapterInfo | undefined; // not of every browser
  };
  const shapes = poolShapesFor(limits, frames, choice.bufferBytesMax);
  const pools = poolsOn(adapterInfo, shapes);
  const controlBytes = controlWords(frames) * 4;
  if (controlBytes > limits.maxStorageBufferBindingSize) {
    const why = `your GPUDevice binds ${limits.maxStorageBufferBindingSize} bytes at once`;
    const text = `Cannot make the device: ${why}, and ${controlBytes} are needed; give larger limits`;
    throw new HmmError("EINVAL", "device", text);
  }
  const none = { vendor: "", architecture: "", device: "", description: "" };
  const report = adapterInfo === undefined ? none : reportOf(adapterInfo);
  const isScattering = isGpu(adapterInfo);
  return { device, pools, report, isScattering, leavesMax: leavesOf(device), eagerMs: undefined };
}

/** Buffers of a pool that has several are no larger: drivers fail at larger ones. */
const PIECE_BYTES: number = 256 * 2 ** 20;

/**
 * One buffer where the adapter binds so much, and as many as it takes. Throws HmmError EINVAL where
 * a shader cannot have so many.
 */
export function poolShapesFor(
  limits: Pick<
    GPUSupportedLimits,
    "maxStorageBufferBindingSize" | "maxBufferSize" | "maxStorageBuffersPerShaderStage"
  >,
  frames: number,
  bufferBytesMax: number,
): PoolShape[] {
  const { maxStorageBufferBindingSize, maxBufferSize, maxStorageBuffersPerShaderStage } = limits;
  const most = Math.min(maxStorageBufferBindingSize, maxBufferSize, bufferBytesMax);
  const isOne = frames * PAGE_BYTES <= most;
  const one = isOne ? [{ frames, bufferFrames: frames }] : [];
  if (isOne && frames * PAGE_BYTES <= PIECE_BYTES) return one;
  const pieceFrames = Math.floor(Math.min(most, PIECE_BYTES) / PAGE_BYTES);
  const shape = { frames, bufferFrames: 2 ** Math.floor(Math.log2(pieceFrames)) };
  const buffersMax = maxStorageBuffersPerShaderStage - OTHER_STORAGE_BUFFERS;
  if (framesByBuffer(shape).length <= buffersMax) return [...one, shape];
  if (isOne) return one;
  const bytesMax = Math.max(most, buffersMax * shape.bufferFrames * PAGE_BYTES);
  const why = `the adapter binds at most ${bytesMax} bytes in ${buffersMax} buffers`;
  const text = `Cannot make the device: ${why}; give it no more memoryBytes than that`;
  throw new HmmError("EINVAL", "device", text);
}

/** Features that kernels may use where the adapter has them. */
const KERNEL_FEATURES: readonly GPUFeatureName[] = [
  "shader-f16",
  "subgroups",
  "float32-filterable",
];

/** Sizes above the specification's defaults only where the budget needs them. */
function limitsFor(limits: GPUSupportedLimits, bytes: number): Record<string, number> {
  const required: Record<string, number> = {};
  if (bytes > DEFAULT_BINDING_BYTES) required["maxStorageBufferBindingSize"] = bytes;
  if (bytes > DEFAULT_BUFFER_BYTES) required["maxBufferSize"] = bytes;
  const { maxComputeInvocationsPerWorkgroup: invocations, maxComputeWorkgroupSizeX: x } = limits;
  required["maxComputeInvocationsPerWorkgroup"] = invocations;
  required["maxComputeWorkgroupSizeX"] = x;
  // For variables of the kernel's own, beside the library's.
  required["maxStorageBuffersPerShaderStage"] = limits.maxStorageBuffersPerShaderStage;
  return required;
}

const DEFAULT_BINDING_BYTES: number = 128 * 2 ** 20;
const DEFAULT_BUFFER_BYTES: number = 256 * 2 ** 20;

/** What the promise gives, or undefined after `timeoutMs`. */
async function within<T>(timeoutMs: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
