/** @module devices/webgpu/parameters: the parameters of a pass, as the shader reads them. */

import type { GpuPass } from "./gpu.ts";
import { PARAMETER_HEAD_WORDS, PARAMETER_WORDS } from "./wgsl/layout.ts";

const words = new Uint32Array(PARAMETER_WORDS);
const asFloats = new Float32Array(words.buffer);

/** Scratch of this thread: valid until the next call. */
export function parameterWords(pass: GpuPass, frames: number): Uint32Array<ArrayBuffer> {
  const { replay, fuel, isTouch, isUseNoted, groups, window, args } = pass;
  const [first, end] = replay === undefined ? [pass.first, pass.end] : [0, replay.length];
  words.fill(0);
  words.set([first, end, fuel, isTouch ? 1 : 0, ...groups, frames]);
  putAddress(8, window);
  words[10] = isUseNoted ? 1 : 0;
  words[11] = replay === undefined ? 0 : 1;
  for (const [i, value] of args.entries()) {
    const at = PARAMETER_HEAD_WORDS + i * 4;
    if (Number.isInteger(value)) putAddress(at, value);
    asFloats[at + 2] = value;
  }
  return words;
}

/** Low and high word; of a negative number, those of its two's complement. */
function putAddress(at: number, value: number): void {
  words[at] = value % 2 ** 32;
  words[at + 1] = Math.floor(value / 2 ** 32);
}
