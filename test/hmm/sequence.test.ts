/** @module The sequence of a range: sequence and invalid bit in one word, over its whole circle. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  NOTHING_READ,
  SEQUENCE_ORPHANED,
  nextSequence,
  sequenceIsValid,
} from "../../src/hmm/range-record.ts";

test("a next sequence is invalid, differs from the one before it, and is never the one that means an orphan", () => {
  for (const sequence of [
    0, 1, 2, 3, 0x7ffffffc, 0x7ffffffd, 0x7ffffffe, 0x7fffffff, -4, -3, -2, -0x80000000,
  ]) {
    const next = nextSequence(sequence);
    assert.equal(sequenceIsValid(next), false);
    assert.notEqual(next & ~1, sequence & ~1, `after ${sequence}`);
    assert.notEqual(next, SEQUENCE_ORPHANED);
    assert.equal(next, next | 0, "it fits a word as it is read back");
  }
});

test("no valid sequence is what a user has that has read nothing, and an orphan is not valid", () => {
  assert.equal(sequenceIsValid(NOTHING_READ), false);
  assert.equal(sequenceIsValid(SEQUENCE_ORPHANED), false);
});
