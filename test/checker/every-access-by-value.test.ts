/**
 * @module Whatever an access by value, a copy of bytes, a view, a look at the mappings or a device
 * does while another operation runs: each access that another thread's could race with is a
 * scheduling point. Every pair in one situation of the pages, in turns.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { MAPPING_OPERATIONS, OPERATIONS, hiddenIn } from "./operation-pairs.ts";

for (const [i, first] of OPERATIONS.entries()) {
  if (i < MAPPING_OPERATIONS) continue;
  test(`${first} against everything`, () => {
    assert.deepEqual(
      OPERATIONS.slice(0, i + 1).flatMap((second, k) => hiddenIn(first, second, i + k)),
      [],
    );
  });
}
