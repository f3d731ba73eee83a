/** @module Layouts, views, and what debug builds catch. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { List } from "../../src/memory/layout/list.ts";
import type { Struct, StructView, WordArray } from "../../src/memory/layout/struct.ts";
import {
  array,
  describeStructs,
  embed,
  embedStruct,
  i32,
  pointer,
  struct,
  u32,
} from "../../src/memory/layout/struct.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { MIB, makeMachine, run } from "./harness.ts";

interface Inner extends StructView {
  left: number;
  right: number;
}
const Inner: Struct<Inner> = struct<Inner>(
  "testInner",
  { left: u32("outer's lock", "one"), right: u32("outer's lock", "other") },
  { embedded: true },
);

interface Thing extends StructView {
  readonly inner: Inner;
  startPage: number;
  delta: number;
  next: number;
  readonly slots: WordArray;
  readonly lock: Mutex;
  readonly node: List;
}
const Thing: Struct<Thing> = struct<Thing>("testThing", {
  inner: embedStruct(Inner, "lock", "first, so that its pointer is the thing's"),
  startPage: u32("lock", "a page number"),
  delta: i32("lock", "may be negative"),
  next: pointer("lock", "another thing"),
  slots: array(5, "lock", "some words"),
  lock: embed(Mutex, "guards the rest", "testThingLock"),
  node: embed(List, "in a list"),
});

interface Other extends StructView {
  value: number;
}
const Other: Struct<Other> = struct<Other>("testOther", { value: u32("const", "a number") });

test("fields lie one after the other in the order of the table", () => {
  assert.deepEqual(
    Thing.fields.map(({ name, offset, words }) => [name, offset, words]),
    [
      ["inner", 0, 2],
      ["startPage", 2, 1],
      ["delta", 3, 1],
      ["next", 4, 1],
      ["slots", 5, 5],
      ["lock", 10, Mutex.WORDS],
      ["node", 10 + Mutex.WORDS, 2],
    ],
  );
  assert.equal(Thing.sizeWords, 12 + Mutex.WORDS);
  assert.equal(Thing.offset.next, 4);
  assert.equal(Thing.containerOf(104, "next"), 100);
});

test("a view reads and writes the words that the table says, with the field's sign", () => {
  const machine = makeMachine();
  const at = run(machine, machine.heap.alloc(Thing));
  const thing = Thing.at(machine.memory, at);
  thing.startPage = 0xffff_fff0;
  thing.delta = -5;
  thing.next = 1234;
  thing.inner.right = 77;
  thing.slots.set(4, 99);
  assert.equal(thing.startPage, 0xffff_fff0);
  assert.equal(thing.delta, -5);
  const { words } = machine.memory;
  assert.deepEqual([...words.subarray(at, at + 10)], [0, 77, -16, -5, 1234, 0, 0, 0, 0, 99]);
  assert.equal(thing.slots.get(4), 99);
  assert.throws(() => thing.slots.get(5), /Cannot access element 5: the array has 5/);
  assert.throws(() => thing.slots.set(-1, 0), /Cannot access element -1/);
  run(machine, lockAndLook(thing, words));
});

function* lockAndLook(thing: Thing, words: Int32Array): Task<void> {
  yield* thing.lock.lock();
  assert.notEqual(words[thing.at + Thing.offset.lock], 0, "the lock lies where the table says");
  yield* thing.lock.unlock();
  assert.equal(words[thing.at + Thing.offset.lock], 0);
}

test("the table of a struct describes every field", () => {
  const text = describeStructs([Thing]);
  assert.match(text, /^### testThing \(\d+ words\)$/m);
  for (const { name, offset, words, kind, guardedBy, note } of Thing.fields) {
    assert.ok(
      text.includes(`| ${offset} | ${words} | ${name} | ${kind} | ${guardedBy} | ${note} |`),
      name,
    );
  }
  assert.match(describeStructs([Inner]), /embedded in other structs/);
  assert.ok(describeStructs().includes("### testOther"), "all declared structs by default");
});

test("a struct's name is taken once, and a struct without fields is none", () => {
  assert.throws(
    () => struct<Other>("testOther", { value: u32("const", "") }),
    /Cannot declare struct testOther: it exists already/,
  );
  assert.throws(
    () => struct<StructView>("testEmpty", {}),
    /Cannot declare struct testEmpty: it has no fields/,
  );
  assert.throws(() => embedStruct(Other as Struct<StructView>, "", ""), /Cannot embed testOther/);
});

test("null is caught in every build", () => {
  for (const debug of [true, false]) {
    const machine = makeMachine({ debug });
    assert.throws(() => Thing.at(machine.memory, 0), /Cannot use testThing at null/);
  }
});

test("debug builds catch a view of a freed object, of another struct, of no object at all", () => {
  const machine = makeMachine();
  const { memory, heap } = machine;
  const at = run(machine, heap.alloc(Thing));
  const other = run(machine, heap.alloc(Other));
  const { inner } = Thing.at(memory, at);
  assert.equal(inner.left, 0);
  assert.throws(
    () => Thing.at(memory, other),
    /testThing at 0x[0-9a-f]+ .*: a testOther lives there/,
  );
  assert.throws(() => Thing.at(memory, at + 2), /testThing at .*: no object starts there/);
  run(machine, heap.free(Thing, at));
  assert.throws(() => Thing.at(memory, at), /Cannot use testThing at 0x[0-9a-f]+ .*: it was freed/);
  assert.throws(() => Inner.at(memory, at + 2), /Cannot use testInner .*: its object was freed/);
});

test("the same mistake passes unseen in a build without debug, so the check is what catches it", () => {
  const machine = makeMachine({ debug: false });
  const at = run(machine, machine.heap.alloc(Thing));
  run(machine, machine.heap.free(Thing, at));
  assert.equal(Thing.at(machine.memory, at).startPage, 0x6b6b6b6b);
});

test("at reaches an object that another view of the heap allocated past this one's end", () => {
  const machine = makeMachine({ heapBytes: 8 * MIB });
  const shortView = machine.memory.words;
  let at = 0;
  while (at + Thing.sizeWords <= shortView.length) at = run(machine, machine.heap.alloc(Thing));
  Thing.at(machine.memory, at).startPage = 42;
  machine.memory.words = shortView; // as in a thread that has not looked since
  assert.equal(machine.memory.words[at], undefined);
  assert.equal(Thing.at(machine.memory, at).startPage, 42);
  assert.throws(() => Thing.at(machine.memory, 2 ** 29), /wild/);
});

test("a plain field is read and written by the pointer, as a view does it", () => {
  const machine = makeMachine({ debug: true });
  const at = run(machine, machine.heap.alloc(Thing));
  const thing = Thing.at(machine.memory, at);
  const startPage = Thing.plain("startPage");
  const next = Thing.plain("next");
  startPage.store(machine.memory, at, 2 ** 32 - 1);
  next.store(machine.memory, at, 77);
  assert.deepEqual([thing.startPage, thing.next], [2 ** 32 - 1, 77]);
  thing.startPage = 5;
  assert.equal(startPage.load(machine.memory, at), 5);
  assert.throws(() => startPage.load(machine.memory, 0), /at null/);
  assert.throws(() => Thing.plain("slots"), /its kind is array; use a view/);
  assert.throws(() => Thing.plain("delta"), /its kind is i32; use a view/);
  run(machine, machine.heap.free(Thing, at));
  assert.throws(() => startPage.load(machine.memory, at), /was freed/);
  assert.throws(() => next.store(machine.memory, at, 1), /was freed/);
});
