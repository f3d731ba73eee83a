/**
 * @module What a word of the heap notes becomes a resource of this thread, and is noted once, also
 * where the list of resources is full.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { RESOURCE_LIMIT } from "../../src/sync/control-block.ts";
import {
  addResource,
  findResource,
  kindWord,
  removeResource,
  resourceKind,
  takeNoted,
} from "../../src/sync/lockdep/resources.ts";
import { makeFixture } from "./fixture.ts";

const KIND: number = resourceKind("taken over in a test");
const POINTER = 1234;

test("what a word notes is listed, and the word says what is left", () => {
  const { memory, data } = makeFixture();
  for (const left of [0, 7]) {
    memory.words[data] = POINTER;
    const slot = takeNoted(memory, KIND, POINTER, data, left);
    assert.equal(memory.words[data], left);
    assert.equal(findResource(memory, KIND, POINTER), slot);
    assert.equal(memory.words[kindWord(memory, slot)], KIND);
    removeResource(memory, slot);
    assert.equal(findResource(memory, KIND, POINTER), -1);
  }
});

test("without a word it is listed; with a full list the word changes all the same", () => {
  const { memory, data } = makeFixture();
  const slots = [takeNoted(memory, KIND, POINTER, 0)];
  assert.notEqual(slots[0], -1);
  while (slots.length < RESOURCE_LIMIT) slots.push(addResource(memory, KIND, slots.length));
  memory.words[data] = POINTER;
  assert.equal(takeNoted(memory, KIND, POINTER, data), -1);
  assert.equal(memory.words[data], 0);
  for (const slot of slots) removeResource(memory, slot);
});
