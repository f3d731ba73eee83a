/** @module How pages that are wanted are cut into pieces. No GPU. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { piecesOf } from "../../../src/devices/webgpu/pieces.ts";

const run = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first + i);

test("a piece has pages within its reach, and so many at most", () => {
  assert.deepEqual(piecesOf([], 8, 64), []);
  assert.deepEqual(piecesOf([1, 5, 8, 9, 20], 8, 64), [[1, 5, 8], [9], [20]]);
  const pages = run(10, 2 * 64 + 1);
  assert.deepEqual(
    piecesOf(pages, 8192, 64).map((piece) => piece.length),
    [64, 64, 1],
  );
  assert.deepEqual(piecesOf(pages, 8192, 64).flat(), pages, "none is lost");
});

test("without reach a piece is a run without gaps", () => {
  assert.deepEqual(piecesOf([3, 4, 5, 7, 8, 10], 0, 64), [[3, 4, 5], [7, 8], [10]]);
});
