/** Seeded random numbers, the Hilbert curve, and the questions made of both. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { hilbertIndex, makeQuestions } from "../../command/src/geocode/questions.ts";
import { Random } from "../../command/src/geocode/random.ts";

test("the curve visits every cell once, and cells that follow each other touch", () => {
  // The curve of 2^14 by 2^14 cells begins with complete smaller curves, so its first 4^5 indexes
  // fill a 32 by 32 corner.
  const cells: [number, number][] = [];
  for (let x = 0; x < 32; x++) for (let y = 0; y < 32; y++) cells[hilbertIndex(x, y)] = [x, y];
  assert.equal(cells.length, 1024);
  for (let index = 1; index < cells.length; index++) {
    const [x, y] = cells[index]!;
    const [lastX, lastY] = cells[index - 1]!;
    assert.equal(Math.abs(x - lastX) + Math.abs(y - lastY), 1, `cells ${index - 1} and ${index}`);
  }
  assert.ok(hilbertIndex(2 ** 14 - 1, 0) < 2 ** 28);
});

test("the generator is xoshiro128**: the sequence of the C code from the state 1, 2, 3, 4", () => {
  const random = new Random(0);
  Object.assign(random, { a: 1, b: 2, c: 3, d: 4 });
  const words = Array.from({ length: 5 }, () => random.nextWord());
  assert.deepEqual(words, [11520, 0, 5927040, 70819200, 2031721883]);
});

test("questions depend on the seed only, are uniform over the sphere and sorted by place", () => {
  const questions = makeQuestions(7, 20_000);
  assert.deepEqual(questions, makeQuestions(7, 20_000));
  assert.notDeepEqual(questions, makeQuestions(8, 20_000));
  let tropics = 0;
  let steps = 0;
  for (let index = 0; index < 20_000; index++) {
    const longitude = questions[2 * index]! / 1e7;
    const latitude = questions[2 * index + 1]! / 1e7;
    assert.ok(Math.abs(longitude) <= 180 && Math.abs(latitude) <= 90);
    if (Math.abs(latitude) < 30) tropics++;
    if (index > 0) steps += Math.abs(latitude - questions[2 * index - 1]! / 1e7);
  }
  assert.ok(Math.abs(tropics / 20_000 - 0.5) < 0.02, "half of a sphere lies below 30 degrees");
  assert.ok(
    steps / 20_000 < 2,
    "a question is near the one before; unsorted the mean step is 40 degrees",
  );
});
