/** @module The words of pages, against a map of what is known. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameArrays } from "../../src/memory/frames/ram-section.ts";
import { NEAR_PAGES, PageWords } from "../../src/mmu/page-words.ts";
import { generationIndex } from "../../src/sync/primitives/shootdown.ts";
import { PAGE, seedFor } from "../memory/harness.ts";
import { diceOf } from "../dice.ts";

const STEPS = 20_000;
const PAGES = [0, 1, 511, 512, 64 * 512, NEAR_PAGES - 1, NEAR_PAGES, 2 * NEAR_PAGES, 2 ** 32 - 513];

function makeArrays(pages: number): FrameArrays {
  return new FrameArrays(new SharedArrayBuffer(pages * PAGE), 0, pages);
}

/** What the widths see: the words of near pages, and by slot whose frames they are. */
class Reader {
  near: Int32Array = new Int32Array(0);
  readonly bySlot: FrameArrays[] = [];

  usePageWords(words: Int32Array): void {
    this.near = words;
  }

  useArrays(slot: number, arrays: FrameArrays): void {
    this.bySlot[slot] = arrays;
  }
}

const isAtHome = (word: number): boolean => (word & 1) !== 0;

interface Known {
  readonly arrays: FrameArrays;
  readonly frame: number;
}

/** Random words of few buffers, or of more than there are slots. Returns how many are at home. */
function countAtHome(seed: number, buffers: readonly FrameArrays[]): number {
  const dice = diceOf(seed);
  const words = new PageWords(NEAR_PAGES);
  const reader = new Reader();
  words.addReader(reader);
  const known = new Map<number, Known>();
  let atHome = 0;
  for (let step = 0; step < STEPS; step++) {
    const page = PAGES[dice(PAGES.length)]! + (dice(2) === 0 ? 0 : dice(400));
    if (dice(50) === 0) {
      words.drop(generationIndex(page));
      for (const each of known.keys())
        if (generationIndex(each) === generationIndex(page)) known.delete(each);
      assert.equal(words.of(page), 0);
      continue;
    }
    const arrays = buffers[dice(buffers.length)]!;
    const frame = dice(2 ** 19);
    words.set(page, arrays, frame);
    known.set(page, { arrays, frame });
    assert.notEqual(words.of(page), 0, "what was set last is known");
    for (const each of [page, PAGES[dice(PAGES.length)]!]) {
      const word = words.of(each);
      if (word === 0) continue;
      const wanted = known.get(each);
      assert.equal(words.arraysOf(word), wanted?.arrays);
      assert.equal(words.frameOf(word, each), wanted?.frame);
      if (each >= NEAR_PAGES) continue;
      assert.equal(reader.near[each], word);
      assert.equal(reader.bySlot[isAtHome(word) ? 0 : (word >> 1) & 31], wanted?.arrays);
      // What a load computes, whose address lies in 2^31 bytes: the place in the buffer.
      assert.equal(((word & ~4095) + each * PAGE) | 0, (wanted?.frame ?? 0) * PAGE);
      if (isAtHome(word)) atHome++;
    }
  }
  return atHome;
}

test("words say what was set last, or nothing: of one buffer, which is at home", (t) => {
  const rest = makeArrays(1);
  assert.ok(countAtHome(seedFor(t), [makeArrays(2), rest]) > 0);
});

test("the same of several buffers, and of more than there are slots", (t) => {
  const seed = seedFor(t);
  countAtHome(
    seed,
    Array.from({ length: 3 }, () => makeArrays(2)),
  );
  countAtHome(
    seed,
    Array.from({ length: 40 }, () => makeArrays(2)),
  );
});

test("frames that 31 bits do not reach have no words", () => {
  const words = new PageWords(NEAR_PAGES);
  const arrays = makeArrays(2);
  words.set(1, arrays, 2 ** 19);
  assert.equal(words.of(1), 0);
  words.set(1, arrays, 2 ** 19 - 1);
  assert.equal(words.frameOf(words.of(1), 1), 2 ** 19 - 1);
});

test("who is met most is at home: a buffer that takes over from another, none among equals", () => {
  const words = new PageWords(NEAR_PAGES);
  const [first, second] = [makeArrays(2), makeArrays(2)];
  for (let page = 0; page < 8; page++) words.set(page, first, page);
  assert.ok(isAtHome(words.of(7)));
  for (let page = 8; page < 1000; page++) words.set(page, second, page);
  assert.ok(isAtHome(words.of(999)), "the second");
  for (let page = 1000; page < 8000; page++) words.set(page, page % 2 === 0 ? first : second, page);
  assert.ok(words.of(7998) !== 0 && !isAtHome(words.of(7998)));
  assert.ok(words.of(7999) !== 0 && !isAtHome(words.of(7999)));
});
