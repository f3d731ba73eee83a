/** @module The clock that chooses which pages leave device memory, over frames of a test. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type ClockFrames, evictCold, evictUnused } from "../../src/devices/policy/eviction.ts";

const FRAMES = 8;

class TestFrames implements ClockFrames {
  readonly frames = FRAMES;
  hand = 0;
  readonly spared: number[] = [];
  readonly #isMapped: boolean[] = Array.from({ length: FRAMES }, () => true);
  readonly #isAccessed: boolean[];

  /** All frames hold a page; those of `accessed` are in use. */
  constructor(accessed: readonly number[]) {
    this.#isAccessed = Array.from({ length: FRAMES }, (_, frame) => accessed.includes(frame));
  }

  isMapped(frame: number): boolean {
    return this.#isMapped[frame]!;
  }

  isAccessed(frame: number): boolean {
    return this.#isAccessed[frame]!;
  }

  spare(frame: number): void {
    this.#isAccessed[frame] = false;
    this.spared.push(frame);
  }

  claim(frame: number): void {
    this.#isMapped[frame] = false;
  }

  /** The frames hold other pages, which nobody has used yet. */
  fill(frames: readonly number[]): void {
    for (const frame of frames) this.#isMapped[frame] = true;
  }
}

type Evict = typeof evictCold;

function taken(evict: Evict, clock: ClockFrames, wanted: number): number[] {
  const into = new Int32Array(FRAMES);
  const count = evict(clock, into, 0, wanted);
  return [...into.subarray(0, count)];
}

test("a page that is used leaves only when the hand comes by a second time", () => {
  const clock = new TestFrames([0, 1, 3]);
  assert.deepEqual(taken(evictUnused, clock, 2), [2, 4]);
  assert.deepEqual(clock.spared, [0, 1, 3]);
  assert.deepEqual(taken(evictUnused, clock, 5), [5, 6, 7, 0, 1]);
  assert.deepEqual(taken(evictUnused, clock, 5), [3], "fewer when there are no more");
});

test("for a prefetch only cold pages leave, and no page loses its chance", () => {
  const clock = new TestFrames([0, 1, 3]);
  assert.deepEqual(taken(evictCold, clock, 2), [2], "no further than twice the wanted frames");
  assert.deepEqual(clock.spared, []);
  assert.deepEqual(taken(evictCold, new TestFrames([0, 1, 2, 3, 4, 5, 6, 7]), 8), []);
});

/** Whether what is prefetched outlives the next two pages that somebody needs. */
function prefetchedStay(evict: Evict): boolean {
  const clock = new TestFrames([0]);
  const prefetched = taken(evict, clock, 3);
  assert.deepEqual(prefetched, [1, 2, 3]);
  clock.fill(prefetched);
  const next = taken(evictUnused, clock, 2);
  return next.every((frame) => !prefetched.includes(frame));
}

test("what has just been prefetched is not the first to leave", () => {
  assert.ok(prefetchedStay(evictCold));
});

test("BROKEN: a hand that stays before them takes them at once", () => {
  const staying: Evict = (clock, into, already, wanted) => {
    const { hand } = clock;
    const count = evictCold(clock, into, already, wanted);
    clock.hand = hand;
    return count;
  };
  assert.ok(!prefetchedStay(staying));
});
