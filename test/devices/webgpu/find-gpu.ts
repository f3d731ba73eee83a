/**
 * @module Whether this machine has a WebGPU adapter for tests, and what to install where it has
 * not. SwiftShader, which Debian's chromium brings, serves where there is no GPU.
 */

import { existsSync, readdirSync } from "node:fs";

/** Where Vulkan drivers are listed. */
const DRIVER_FOLDERS = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d"];

function hasDriver(folder: string): boolean {
  return existsSync(folder) && readdirSync(folder).length > 0;
}

let made: GPU | undefined;

const SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json";

/** For `skip` of a test: false, or what is missing. */
export const missingGpu: string | false = await findOut();

async function findOut(): Promise<string | false> {
  // Dawn reads it when it is first asked for an adapter.
  const isOpen = process.env["VK_ICD_FILENAMES"] === undefined && !DRIVER_FOLDERS.some(hasDriver);
  if (isOpen && existsSync(SWIFTSHADER)) process.env["VK_ICD_FILENAMES"] = SWIFTSHADER;
  const gpu = await plainGpu();
  if (typeof gpu === "string") return gpu;
  const adapter = await gpu.requestAdapter();
  if (adapter === null)
    return "no WebGPU adapter: install chromium (for SwiftShader) and libvulkan1, or a driver";
  return false;
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
