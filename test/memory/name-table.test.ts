/** @module The directory from names to payloads in shared words: full tables, and reuse in them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Machine } from "../../src/memory/machine.ts";
import { NameTable, type NameTableShape } from "../../src/memory/layout/name-table.ts";
import { makeMachine, run } from "./harness.ts";

const SHAPE: NameTableShape = { capacity: 4, nameWords: 2, payloadWords: 1 };
const NAMES = ["one", "two", "three", "four"] as const;

function makeTable(): { machine: Machine; table: NameTable; at: number } {
  const machine = makeMachine();
  const at = run(machine, machine.heap.allocWords(512));
  return { machine, table: new NameTable(machine.memory, at, SHAPE), at };
}

/** A full table whose payloads are 1, 2, 3, 4. */
function makeFull(): ReturnType<typeof makeTable> {
  const made = makeTable();
  const { machine, table } = made;
  NAMES.forEach((name, i) => {
    assert.notEqual(
      run(
        machine,
        table.add(name, (at) => (machine.memory.words[at] = i + 1)),
      ),
      0,
    );
  });
  return made;
}

test("a name is added once, and found with and without the lock, by every view of the table", () => {
  const { machine, table, at } = makeFull();
  const other = new NameTable(machine.memory, at, SHAPE);
  for (const [i, name] of NAMES.entries()) {
    const payload = run(machine, table.find(name));
    assert.equal(machine.memory.words[payload], i + 1);
    assert.equal(other.findLocked(name), payload);
    assert.equal(
      run(
        machine,
        other.add(name, () => assert.fail("it is there")),
      ),
      payload,
    );
  }
  assert.deepEqual(
    table
      .entries()
      .map(({ name }) => name)
      .toSorted(),
    [...NAMES].toSorted(),
  );
  assert.equal(run(machine, table.find("five")), 0);
});

test("a full table takes no further name, and loses none", () => {
  const { machine, table } = makeFull();
  assert.equal(run(machine, table.add("five")), 0);
  assert.equal(
    run(
      machine,
      table.add("five", undefined, () => false),
    ),
    0,
  );
  assert.equal(table.entries().length, NAMES.length);
});

test("in a full table a name whose payload is unused makes room, and all others stay", () => {
  for (const victim of NAMES) {
    const { machine, table } = makeFull();
    const { words } = machine.memory;
    words[table.findLocked(victim)] = 0;
    const at = run(
      machine,
      table.add("fifth", undefined, (payload) => words[payload] === 0),
    );
    assert.notEqual(at, 0);
    assert.equal(table.findLocked("fifth"), at);
    assert.equal(table.findLocked(victim), 0);
    for (const [i, name] of NAMES.entries())
      if (name !== victim) assert.equal(words[table.findLocked(name)], i + 1);
  }
});

test("a table with room renames nothing", () => {
  const { machine, table } = makeTable();
  run(machine, table.add("one"));
  run(
    machine,
    table.add("two", undefined, () => true),
  );
  assert.deepEqual(
    table
      .entries()
      .map(({ name }) => name)
      .toSorted(),
    ["one", "two"],
  );
});

test("a name that does not fit is refused", () => {
  const { machine, table } = makeTable();
  assert.throws(() => run(machine, table.add("")), /Cannot enter the name/);
  assert.throws(() => run(machine, table.add("nine chars")), /use 1 to 8/);
  assert.notEqual(run(machine, table.add("8 chars!")), 0);
});

test("a name whose length was damaged is read no further than its words", () => {
  for (const length of [9, 2 ** 31 - 1, -1]) {
    const { table, machine, at } = makeFull();
    const LENGTH = 2; // of an entry, see the head of the file
    machine.memory.words[at + LENGTH] = length;
    const longest = Math.max(...table.entries().map(({ name }) => name.length));
    assert.ok(longest <= 4 * SHAPE.nameWords);
  }
});
