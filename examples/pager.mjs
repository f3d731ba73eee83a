/**
 * @module Memory whose contents a program of yours makes. Pages are asked for when they are
 * touched: here they are numbers of Fibonacci's, and nobody asks for most of them.
 *
 * Run with: node examples/pager.mjs
 */

import assert from "node:assert/strict";
import { AddressSpace } from "hmm-ts";

let asked = 0;
const fibonacci = {
  lengthBytes: 2 ** 30,
  /** `offsetBytes` is a multiple of 4096, and so is the length of `into`. */
  read(offsetBytes, into) {
    asked += into.length / 4096;
    const values = new BigUint64Array(into.buffer, into.byteOffset, into.length / 8);
    for (let i = 0; i < values.length; i++) values[i] = nth(offsetBytes / 8 + i);
  },
};

/** Number n of the row, modulo 2^64, by doubling. */
function nth(n) {
  let [a, b] = [0n, 1n];
  for (let bit = 31; bit >= 0; bit--) {
    [a, b] = [BigInt.asUintN(64, a * (2n * b - a)), BigInt.asUintN(64, a * a + b * b)];
    if ((n >>> bit) & 1) [a, b] = [b, BigInt.asUintN(64, a + b)];
  }
  return a;
}

const space = await AddressSpace.create({ ramBytes: 4 * 2 ** 20 });
const row = await space.mmap(fibonacci.lengthBytes, { source: fibonacci });
await space.madvise(row, fibonacci.lengthBytes, "random"); // no read-ahead
for (const n of [10, 90, 100_000_000]) {
  const bytes = new BigUint64Array(1);
  await space.read(row + n * 8, new Uint8Array(bytes.buffer));
  console.log(`number ${n}: ${bytes[0]}`);
}
console.log(`pages that were made: ${asked} of ${fibonacci.lengthBytes / 4096}`);
assert.equal(space.u64.load(row + 90 * 8), 2_880_067_194_370_816_120n);
assert.equal(asked, 2);
await space[Symbol.asyncDispose]();
