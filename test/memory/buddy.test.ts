/** @module The buddy system against a naive model of free pages. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Buddy, MAX_ORDER, orderFor } from "../../src/memory/heap/buddy.ts";
import { seedFor } from "./harness.ts";
import { diceOf } from "../dice.ts";

const STRIDE_WORDS = 4;

function makeBuddy(pages: number, skipped = 0, roomPages: number = pages): Buddy {
  const table = { words: new Int32Array(roomPages * STRIDE_WORDS) };
  const heads = { words: new Int32Array(Buddy.WORDS) };
  const buddy = new Buddy({
    heads,
    headsAt: 0,
    table,
    tableAt: 0,
    strideWords: STRIDE_WORDS,
    debug: true,
  });
  buddy.skip(skipped);
  buddy.extend(pages);
  return buddy;
}

/** B2 and B3 of buddy.ts, and that the blocks are exactly the free pages of the model. */
function checkAgainst(buddy: Buddy, isFree: readonly boolean[], where: string): void {
  const seen = isFree.map(() => false);
  const starts = new Map(buddy.freeBlocks().map(({ page, order }) => [page, order]));
  for (const [page, order] of starts) {
    assert.equal(page % 2 ** order, 0, `${where}: block ${page} is not aligned`);
    const other = page ^ (2 ** order);
    assert.ok(
      order === MAX_ORDER || starts.get(other) !== order,
      `${where}: ${page} and ${other} could be one`,
    );
    for (let i = page; i < page + 2 ** order; i++) {
      assert.equal(seen[i], false, `${where}: page ${i} is in two blocks`);
      seen[i] = true;
    }
  }
  assert.deepEqual(seen, isFree, where);
  assert.equal(buddy.freePages, isFree.filter(Boolean).length, where);
}

test("orderFor gives the smallest block that holds the pages", () => {
  assert.deepEqual(
    [1, 2, 3, 4, 5, 8, 9, 2 ** 18, 2 ** 18 + 1].map(orderFor),
    [0, 1, 2, 2, 3, 3, 4, 18, 19],
  );
});

test("a range of any length is free in as few blocks as alignment allows", () => {
  assert.deepEqual(makeBuddy(64).freeBlocks(), [{ page: 0, order: 6 }]);
  assert.deepEqual(makeBuddy(13).freeBlocks(), [
    { page: 0, order: 3 },
    { page: 8, order: 2 },
    { page: 12, order: 0 },
  ]);
  assert.deepEqual(makeBuddy(8, 3).freeBlocks(), [
    { page: 3, order: 0 },
    { page: 4, order: 2 },
  ]);
});

test("blocks that were split come together again into one", () => {
  const buddy = makeBuddy(256);
  const pages = Array.from({ length: 256 }, () => buddy.allocBlock(0));
  assert.equal(new Set(pages).size, 256);
  assert.equal(buddy.allocBlock(0), -1);
  // An order that joins as late as possible: even pages first, then odd ones.
  for (const page of pages.filter((p) => p % 2 === 0)) buddy.freeBlock(page, 0);
  assert.equal(buddy.allocBlock(1), -1, "no two neighbours are free yet");
  for (const page of pages.filter((p) => p % 2 === 1)) buddy.freeBlock(page, 0);
  assert.deepEqual(buddy.freeBlocks(), [{ page: 0, order: 8 }]);
});

test("growing joins the new pages with the old", () => {
  const buddy = makeBuddy(24, 0, 64);
  buddy.extend(64);
  assert.deepEqual(buddy.freeBlocks(), [{ page: 0, order: 6 }]);
  const inUse = makeBuddy(16, 0, 64);
  assert.equal(inUse.allocBlock(0), 0);
  inUse.extend(64);
  assert.equal(inUse.freePages, 63);
  inUse.freeBlock(0, 0);
  assert.deepEqual(inUse.freeBlocks(), [{ page: 0, order: 6 }]);
});

test("a run that is no power of two gives back the rest", () => {
  const buddy = makeBuddy(64);
  assert.equal(buddy.allocRun(5), 0);
  assert.equal(buddy.freePages, 59);
  assert.equal(buddy.allocRun(60), -1);
  assert.equal(buddy.allocRun(32), 32);
  buddy.freeRange(0, 5);
  buddy.freeRange(32, 64);
  assert.deepEqual(buddy.freeBlocks(), [{ page: 0, order: 6 }]);
  assert.equal(buddy.allocRun(2 ** 19), -1, "more than the largest block");
});

test("a block may be asked for out of a larger one, or at one place", () => {
  const buddy = makeBuddy(64);
  assert.equal(buddy.allocBlock(0), 0);
  assert.equal(buddy.nextBlock(0), 1);
  assert.equal(buddy.allocBlock(0, 4), 16, "the first free block of 16 pages or more");
  assert.equal(buddy.allocBlock(0, 6), -1, "there is none of 64");
  assert.equal(buddy.takeBlock(40, 3), true);
  assert.equal(buddy.takeBlock(44, 2), false, "part of it is taken");
  assert.equal(buddy.takeBlock(60, 3), false, "it would reach past the end");
  for (const [page, order] of [
    [0, 0],
    [16, 0],
    [40, 3],
  ] as const)
    buddy.freeBlock(page, order);
  assert.deepEqual(buddy.freeBlocks(), [{ page: 0, order: 6 }]);
});

test("a page that is free already cannot be freed, alone or inside a block", () => {
  const buddy = makeBuddy(64);
  const page = buddy.allocBlock(3);
  buddy.freeBlock(page, 3);
  assert.throws(() => buddy.freeBlock(page, 3), /Cannot free page 0: it is free already/);
  assert.throws(() => buddy.freeBlock(37, 0), /Cannot free page 37: it is free already/);
});

test("random blocks and runs agree with a model of free pages", (t) => {
  const seed = seedFor(t);
  const dice = diceOf(seed);
  const pages = 100 + dice(157);
  const buddy = makeBuddy(pages);
  const isFree = Array.from({ length: pages }, () => true);
  const held: { page: number; pages: number }[] = [];
  const take = (page: number, count: number, where: string): void => {
    for (let i = page; i < page + count; i++) {
      assert.equal(isFree[i], true, `${where}: page ${i} handed out twice`);
      isFree[i] = false;
    }
    held.push({ page, pages: count });
  };
  for (let step = 0; step < 1500; step++) {
    const where = `seed ${seed}, step ${step}`;
    if (held.length > 0 && dice(100) < 48) {
      const [run] = held.splice(dice(held.length), 1);
      if (run === undefined) continue;
      buddy.freeRange(run.page, run.page + run.pages);
      isFree.fill(true, run.page, run.page + run.pages);
    } else {
      const count = 1 + dice(12);
      const order = dice(5);
      const wanted = dice(pages >> order) << order;
      if (dice(3) === 0) {
        const all = isFree.slice(wanted, wanted + 2 ** order).every(Boolean);
        assert.equal(buddy.takeBlock(wanted, order), all, where);
        if (all) take(wanted, 2 ** order, where);
        checkAgainst(buddy, isFree, where);
        continue;
      }
      const next = buddy.nextBlock(orderFor(count));
      const page = buddy.allocRun(count);
      assert.equal(page, next, where);
      if (page >= 0) take(page, count, where);
      else
        assert.equal(
          hasAlignedHole(isFree, orderFor(count)),
          false,
          `${where}: there was room for ${count}`,
        );
    }
    checkAgainst(buddy, isFree, where);
  }
  for (const run of held) buddy.freeRange(run.page, run.page + run.pages);
  checkAgainst(
    buddy,
    isFree.map(() => true),
    `seed ${seed}, at the end`,
  );
});

function hasAlignedHole(isFree: readonly boolean[], order: number): boolean {
  const size = 2 ** order;
  for (let start = 0; start + size <= isFree.length; start += size) {
    if (isFree.slice(start, start + size).every(Boolean)) return true;
  }
  return false;
}
