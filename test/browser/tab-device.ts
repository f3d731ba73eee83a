/**
 * @module What a tab does in webgpu-tabs.test.ts: it makes a space and a WebGPU device of its own,
 * whose budget holds a part of the pages, and counts the wrong words of as many dispatches as it
 * is asked for.
 */

import { AddressSpace } from "../../src/index.ts";
import { WebGpuDevice } from "../../src/webgpu.ts";

const PAGE = 4096;
const WORDS = 16 * 1024;

const CODE = `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  store_u32(ptr_at(arg_ptr(1), id.x, 4), load_u32(ptr_at(arg_ptr(0), id.x, 4)) * 3u);
}`;

const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
const device = await WebGpuDevice.create(space, { memoryBytes: 12 * PAGE });
const kernel = device.kernel({ code: CODE, entryPoint: "main" });
const from = await space.mmap(WORDS * 4);
const to = await space.mmap(WORDS * 4);

/** Dispatches so often, with other values each time; resolves to how many words were wrong. */
export async function dispatchRounds(rounds: number, seed: number): Promise<number> {
  let wrong = 0;
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < WORDS; i++) space.u32.store(from + i * 4, i + seed + round);
    await kernel.dispatch(WORDS / 64, { args: [from, to] });
    wrong += countWrong(seed + round);
  }
  return wrong;
}

/** Words that are not those of a dispatch with this seed. */
export function countWrong(seed: number): number {
  let wrong = 0;
  for (let i = 0; i < WORDS; i++) if (space.u32.load(to + i * 4) !== (i + seed) * 3) wrong++;
  return wrong;
}

/** Ends the device while it is dispatching. Resolves to the code of the dispatch's error. */
export async function disposeInDispatch(): Promise<string> {
  const dispatch = kernel.dispatch(WORDS / 64, { args: [from, to] }).then(
    () => "done",
    (error: { readonly code?: string }) => error.code ?? "no code",
  );
  await device[Symbol.asyncDispose]();
  const code = await dispatch;
  await space.dispose();
  return code;
}
