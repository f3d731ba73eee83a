/**
 * @module Whether this machine has a WebGPU adapter for tests, and what to install where it has
 * not. SwiftShader, which Debian's chromium brings, serves where there is no GPU.
 */

import { existsSync } from "node:fs";

const SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json";
const NONE = "no WebGPU adapter: install chromium (for SwiftShader) and libvulkan1, or a driver";

let made: GPU | undefined;

/** For `skip` of a test: false, or what is missing. */
export const missingGpu: string | false = await findOut();

/**
 * With the drivers that the machine lists. There may be some, and none that Dawn takes (Mesa's,
 * where there is no GPU): then with SwiftShader, in another instance, for each reads once which
 * drivers there are.
 */
async function findOut(): Promise<string | false> {
  const found = await findAdapter();
  const isChosen = process.env["VK_ICD_FILENAMES"] !== undefined;
  if (found !== NONE || isChosen || !existsSync(SWIFTSHADER)) return found;
  process.env["VK_ICD_FILENAMES"] = SWIFTSHADER;
  made = undefined;
  return await findAdapter();
}

async function findAdapter(): Promise<string | false> {
  const gpu = await plainGpu();
  if (typeof gpu === "string") return gpu;
  return (await gpu.requestAdapter()) === null ? NONE : false;
}

/** WebGPU in this thread; what to install where there is none. */
export async function plainGpu(): Promise<GPU | string> {
  if (made !== undefined) return made;
  try {
    const { create, globals } = await import("webgpu");
    Object.assign(globalThis, globals);
    made = create([]);
    return made;
  } catch (error) {
    return `npm's webgpu cannot be loaded: ${String(error)}`;
  }
}
