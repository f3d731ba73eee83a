/** @module The options of workloads that say what memory their device has. */

import type { WebGpuDevice } from "../../src/webgpu.ts";
import type { SoftwareDeviceOptions } from "../../src/index.ts";
import { type Reader, oneOf, sizeBytes } from "./option-values.ts";
import { UsageError } from "./exit-status.ts";

/** Whose the pages are that a device works on: see `SoftwareDeviceOptions.memory`. */
export type MemoryKind = NonNullable<SoftwareDeviceOptions["memory"]>;

export const LEAST_BUDGET_BYTES: number = 64 * 2 ** 10;
export const GREATEST_BUDGET_BYTES: number = 2 ** 30;

const KINDS: Reader<MemoryKind> = oneOf("--memory", ["remote", "private", "coherent"]);

/** Reads `--memory`, which was a size once. */
export const memoryKind: Reader<MemoryKind> = (text) => {
  try {
    return KINDS(text);
  } catch (error) {
    if (!(error instanceof UsageError) || !/^\d/.test(text)) throw error;
    throw new UsageError(`${error.message}; a size is given by --budget`);
  }
};

/** Reads `--budget`. */
export const budgetBytes: Reader<number> = sizeBytes(
  "--budget",
  LEAST_BUDGET_BYTES,
  GREATEST_BUDGET_BYTES,
);

export const MEMORY_HELP =
  "whose pages the device works on: remote (copies of pages in RAM), private or coherent (its own)";

/** Which device a workload runs on. */
export type DeviceName = "software" | "webgpu";

/** Reads `--device`. */
export const deviceName: Reader<DeviceName> = oneOf("--device", ["software", "webgpu"]);

/** What the adapter says of itself, in a line. */
export function describeGpu({ adapter }: WebGpuDevice): string {
  const said = [adapter.vendor, adapter.architecture, adapter.device, adapter.description];
  return `WebGPU, ${said.filter((text) => text !== "").join(" ") || "an adapter without a name"}`;
}
