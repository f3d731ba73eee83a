/** @module Which reason counts when the machine stops for several. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { PANIC_RECORDS_TAKEN, PANIC_RECORD_LIMIT } from "../../src/sync/control-block.ts";
import { declarePanic, panicInfo } from "../../src/sync/death/panic.ts";
import { ENOTRECOVERABLE, EOWNERDEAD } from "../../src/sync/errno.ts";
import { makeFixture } from "./fixture.ts";

test("the first reason counts, and is kept whole while others come", () => {
  const { memory } = makeFixture();
  assert.equal(panicInfo(memory), undefined);
  assert.equal(declarePanic(memory, EOWNERDEAD, "first", 7, 3), true);
  assert.equal(declarePanic(memory, ENOTRECOVERABLE, "second, and longer", 8, 4), false);
  assert.deepEqual(panicInfo(memory), {
    code: EOWNERDEAD,
    message: "first",
    lock: 7,
    agent: 3,
  });
});

test("a machine stops although no record is left for the reason", () => {
  for (const free of [1, 0]) {
    const { memory } = makeFixture();
    memory.words[PANIC_RECORDS_TAKEN] = PANIC_RECORD_LIMIT - free;
    assert.equal(declarePanic(memory, EOWNERDEAD, "the last", 7, 3), true);
    const info = panicInfo(memory);
    assert.equal(info?.code, free === 1 ? EOWNERDEAD : ENOTRECOVERABLE);
    assert.match(info.message, free === 1 ? /^the last$/ : /more reasons than it can keep$/);
  }
});
