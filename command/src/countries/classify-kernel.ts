/**
 * @module The kernel on a software device: one work item classifies the places of one square tile
 * of the raster. classify-wgsl.ts has the same for a GPU.
 */

import type { TypedAccess } from "../../../src/index.ts";
import { crosses } from "./crossing.ts";
import {
  COORDINATE_BITS,
  INNER,
  NODE_ANSWER,
  NODE_BYTES,
  NODE_RUNS,
  PLACE_WORDS,
  RUN_HEAD_WORDS,
} from "./layout.ts";
import { TILE_SIDE } from "./raster.ts";

/** The part of a device's memory that the search needs. */
export interface SearchMemory {
  readonly u32: {
    load(address: number): number;
    loadInto(address: number, target: Uint32Array, targetOffset: number, count: number): void;
  };
  readonly ptr: { load(address: number): number };
}

/** `args`: see `classifyArguments` of classify.ts. */
export function classifyTile(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [root = 0, xs = 0, ys = 0, answers = 0, width = 0, height = 0, firstTile = 0] = args;
  const tile = firstTile + item;
  const tilesAcross = Math.ceil(width / TILE_SIDE);
  const left = (tile % tilesAcross) * TILE_SIDE;
  const top = Math.floor(tile / tilesAcross) * TILE_SIDE;
  for (let row = top; row < Math.min(top + TILE_SIDE, height); row++) {
    const y = memory.u32.load(ys + 4 * row);
    for (let column = left; column < Math.min(left + TILE_SIDE, width); column++) {
      const x = memory.u32.load(xs + 4 * column);
      memory.u32.store(answers + 4 * (row * width + column), countryAt(memory, root, x, y));
    }
  }
}

const PLACE_BYTES: number = 4 * PLACE_WORDS;
const HEAD_BYTES: number = 4 * RUN_HEAD_WORDS;

// Scratch of this thread: a work item never waits for another one of the same thread.
let run = new Uint32Array(256);

/** The answer for the place (x, y): layout.ts. */
export function countryAt({ u32, ptr }: SearchMemory, root: number, x: number, y: number): number {
  let node = root;
  let half = 2 ** (COORDINATE_BITS - 1);
  let [x0, y0] = [0, 0];
  let runs = u32.load(node + NODE_RUNS);
  while (runs === INNER) {
    let child = 0;
    if (x >= x0 + half) [child, x0] = [1, x0 + half];
    if (y >= y0 + half) [child, y0] = [child + 2, y0 + half];
    half /= 2;
    node = ptr.load(node) + child * NODE_BYTES;
    runs = u32.load(node + NODE_RUNS);
  }
  if (runs === 0) return u32.load(node + NODE_ANSWER);
  let at = ptr.load(node);
  let country = -1;
  let isInside = 0;
  for (; runs > 0; runs--) {
    const head = u32.load(at);
    const edges = u32.load(at + 4);
    if (head >>> 1 !== country) {
      if (isInside === 1) break;
      country = head >>> 1;
      isInside = head & 1;
    }
    const words = PLACE_WORDS * (edges + 1);
    if (run.length < words) run = new Uint32Array(2 * words);
    u32.loadInto(at + HEAD_BYTES, run, 0, words);
    for (let word = 0; word + PLACE_WORDS < words; word += PLACE_WORDS)
      // an edge has two places
      isInside ^= crosses(run[word]!, run[word + 1]!, run[word + 2]!, run[word + 3]!, x0, y0, x, y);
    at += HEAD_BYTES + (edges + 1) * PLACE_BYTES;
  }
  return isInside === 1 ? country + 1 : 0;
}
