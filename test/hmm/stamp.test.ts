/** @module The stamp of a range: sequence and invalid bit in one word, over its whole circle. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { NOT_ARMED, STAMP_ORPHANED, nextStamp, stampIsValid } from "../../src/hmm/range-record.ts";

test("a next stamp is invalid, differs from the one before it, and is never the one that means an orphan", () => {
  for (const stamp of [
    0, 1, 2, 3, 0x7ffffffc, 0x7ffffffd, 0x7ffffffe, 0x7fffffff, -4, -3, -2, -0x80000000,
  ]) {
    const next = nextStamp(stamp);
    assert.equal(stampIsValid(next), false);
    assert.notEqual(next & ~1, stamp & ~1, `after ${stamp}`);
    assert.notEqual(next, STAMP_ORPHANED);
    assert.equal(next, next | 0, "it fits a word as it is read back");
  }
});

test("no valid stamp is what an unarmed user has noted, and an orphan is not valid", () => {
  assert.equal(stampIsValid(NOT_ARMED), false);
  assert.equal(stampIsValid(STAMP_ORPHANED), false);
});
