/** @module Values by name: numbers that all threads derive alike, and what is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { NameRegistry, nameHash } from "../../src/sync/name-registry.ts";

const makeRegistry = (): NameRegistry<string> =>
  new NameRegistry<string>("test things", "import the module of the test");

/** Two names with one number: of some thousands of names, two have the same 24 bits. */
function collidingNames(): [string, string] {
  const names = new Map<number, string>();
  for (let i = 0; i < 100_000; i++) {
    const name = `name ${i}`;
    const other = names.get(nameHash(name));
    if (other !== undefined) return [other, name];
    names.set(nameHash(name), name);
  }
  throw new Error("no two of 100,000 names have the same number");
}

test("a number has 24 bits, is never 0, and depends on the name alone", () => {
  const [first, second] = [makeRegistry(), makeRegistry()];
  first.declare("something else");
  assert.equal(first.register("a name", "x"), second.register("a name", "y"));
  for (let i = 0; i < 1000; i++) {
    const id = nameHash(`name ${i}`);
    assert.ok(Number.isInteger(id) && id > 0 && id < 2 ** 24);
  }
});

test("a value is found by its number, and a later one takes its place", () => {
  const registry = makeRegistry();
  const id = registry.register("a name", "first");
  assert.equal(registry.get(id), "first");
  assert.equal(registry.register("a name", "second"), id);
  assert.equal(registry.get(id), "second");
  assert.equal(registry.size, 1);
  assert.deepEqual([...registry.values()], ["second"]);
});

test("a name without a value has a number and a name, and `get` says what to load", () => {
  const registry = makeRegistry();
  const id = registry.declare("a name");
  assert.equal(registry.declare("a name"), id);
  assert.equal(registry.nameOf(id), "a name");
  assert.equal(registry.find(id), undefined);
  assert.equal(registry.has("a name"), false);
  const lacking =
    /Cannot use test things a name: .* not loaded them; import the module of the test/;
  assert.throws(() => registry.get(id), lacking);
  registry.set(id, "value");
  assert.equal(registry.get(id), "value");
  assert.equal(registry.has("a name"), true);
});

test("a number that this thread has never met is named by its kind", () => {
  const registry = makeRegistry();
  assert.equal(registry.nameOf(77), "test things 77");
  assert.throws(() => registry.get(77), /Cannot use test things 77: /);
});

test("a second name with the same number is refused, and the first keeps its value", () => {
  const [first, second] = collidingNames();
  const registry = makeRegistry();
  const id = registry.register(first, "value");
  assert.throws(() => registry.register(second, "other"), /has the same number; rename one/);
  assert.equal(registry.get(id), "value");
  assert.equal(registry.nameOf(id), first);
  assert.equal(registry.has(second), false);
});
