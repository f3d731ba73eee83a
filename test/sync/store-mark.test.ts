/**
 * @module The mark of a thread inside a store counts round: it stays an int32, and odd while
 * inside.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { registerAgent } from "../../src/sync/runners/agents.ts";
import { AGENT_INSIDE } from "../../src/sync/control-block.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { enterStore, leaveStore } from "../../src/sync/primitives/shootdown.ts";

test("2^30 stores later the mark is still what the word holds", () => {
  const memory = SharedMemory.create({ initialBytes: 1 << 18 });
  registerAgent(memory, { name: "storer" });
  memory.insideMark = 2 ** 31 - 2;
  for (let store = 0; store < 3; store++) {
    enterStore(memory);
    assert.equal(memory.words[memory.record + AGENT_INSIDE], memory.insideMark);
    assert.equal(memory.insideMark & 1, 1);
    leaveStore(memory);
    assert.equal(memory.words[memory.record + AGENT_INSIDE], memory.insideMark);
    assert.equal(memory.insideMark & 1, 0);
  }
});
