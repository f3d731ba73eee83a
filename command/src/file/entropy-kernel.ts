/**
 * @module The kernel: one work item counts the bytes of one block of the file, and computes its
 * Shannon entropy. It reads through the device's page table and knows nothing of files. All loads
 * come before the first store, so an item that meets a fault is begun again.
 */

import type { TypedAccess } from "../../../src/index.ts";
import { BLOCK_BYTES, BYTE_VALUES, COUNTER_BYTES, ENTROPY_BYTES } from "./blocks.ts";

// Scratch of this thread: a work item never waits for another one of the same thread.
const words = new Uint32Array(BLOCK_BYTES / 4);
const bytes = new Uint8Array(words.buffer);
/** Two tables, by turns, for equal bytes in a row would wait for each other's count. */
const even = new Uint32Array(BYTE_VALUES);
const odd = new Uint32Array(BYTE_VALUES);

/** `args`: address and length of the file, first block, addresses of entropies and counts. */
export function analyzeBlock(memory: TypedAccess, item: number, args: readonly number[]): void {
  const [file = 0, lengthBytes = 0, firstBlock = 0, entropies = 0, counts = 0] = args;
  const block = firstBlock + item;
  const start = block * BLOCK_BYTES;
  const length = Math.min(BLOCK_BYTES, lengthBytes - start);
  memory.u32.loadInto(file + start, words, 0, Math.ceil(length / 4));
  countBytes(length);

  let weighted = 0;
  for (let value = 0; value < BYTE_VALUES; value++) {
    const count = even[value]! + odd[value]!;
    if (count > 0) weighted += count * Math.log2(count);
  }
  memory.f64.store(entropies + block * ENTROPY_BYTES, Math.log2(length) - weighted / length);
  for (let value = 0; value < BYTE_VALUES; value++) {
    const count = even[value]! + odd[value]!;
    if (count > 0) addCount(memory, counts + value * COUNTER_BYTES, count);
  }
}

/** Counts the first `length` bytes into `even` and `odd`. */
function countBytes(length: number): void {
  even.fill(0);
  odd.fill(0);
  const pairs = length - (length % 2);
  for (let i = 0; i < pairs; i += 2) {
    const [a, b] = [bytes[i]!, bytes[i + 1]!];
    even[a] = even[a]! + 1;
    odd[b] = odd[b]! + 1;
  }
  if (pairs < length) even[bytes[pairs]!] = even[bytes[pairs]!]! + 1;
}

function addCount({ u32 }: TypedAccess, at: number, count: number): void {
  const before = u32.atomicAdd(at, count);
  if (before + count >= 2 ** 32) u32.atomicAdd(at + 4, 1);
}
