/**
 * @module The second opinion: the same figures from a plain read of the file, block by block, by
 * other code. The entropy is the sum of -p log2 p here, which the kernel does not compute.
 */

import { closeSync, openSync, readSync } from "node:fs";

import { BLOCK_BYTES, BYTE_VALUES } from "./blocks.ts";

/** Two sums of 256 terms each differ by rounding alone. */
const TOLERANCE = 1e-9;

export interface Verdict {
  readonly checkedBytes: number;
  readonly wrongBlocks: number;
  readonly wrongCounts: number;
}

/** What the device found. */
export interface Findings {
  readonly entropies: Float64Array;
  readonly counts: Float64Array;
}

/** Compares what the device found with a plain read. `onProgress` hears of bytes. */
export async function checkPlainly(
  path: string,
  { entropies, counts }: Findings,
  onProgress: (done: number) => void,
): Promise<Verdict> {
  const fd = openSync(path, "r");
  try {
    const block = new Uint8Array(BLOCK_BYTES);
    const expected = new Float64Array(BYTE_VALUES);
    let checkedBytes = 0;
    let wrongBlocks = 0;
    let number = 0;
    for (;;) {
      const got = readBlock(fd, block, checkedBytes);
      if (got === 0) break;
      const own = new Float64Array(BYTE_VALUES);
      for (const byte of block.subarray(0, got)) own[byte] = own[byte]! + 1;
      for (const [byte, count] of own.entries()) expected[byte] = expected[byte]! + count;
      const found = entropies[number++] ?? Number.NaN;
      if (!(Math.abs(found - shannon(own, got)) <= TOLERANCE)) wrongBlocks++;
      checkedBytes += got;
      if (number % 64 !== 0) continue;
      onProgress(checkedBytes);
      await new Promise(setImmediate); // so that Ctrl-C is heard, and a progress bar drawn
    }
    wrongBlocks += Math.max(0, entropies.length - number);
    const wrongCounts = expected.filter((count, byte) => count !== counts[byte]).length;
    return { checkedBytes, wrongBlocks, wrongCounts };
  } finally {
    closeSync(fd);
  }
}

function readBlock(fd: number, into: Uint8Array, at: number): number {
  let done = 0;
  while (done < into.length) {
    const got = readSync(fd, into, done, into.length - done, at + done);
    if (got === 0) break;
    done += got;
  }
  return done;
}

function shannon(counts: Float64Array, total: number): number {
  let bits = 0;
  for (const count of counts) if (count > 0) bits -= (count / total) * Math.log2(count / total);
  return bits;
}
