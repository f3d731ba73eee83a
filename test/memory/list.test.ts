/** @module Intrusive lists, and the misuse of them that must be caught. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { List } from "../../src/memory/layout/list.ts";
import { LIST_POISON_NEXT, LIST_POISON_PREV } from "../../src/memory/layout/poison.ts";
import { makeMachine, run, seedFor } from "./harness.ts";
import { diceOf } from "../dice.ts";

function makeNodes(count: number): { head: List; nodes: List[]; words: Int32Array } {
  const machine = makeMachine();
  const at = run(machine, machine.heap.allocWords(512));
  const head = new List(machine.memory, at);
  head.init();
  const nodes = Array.from({ length: count }, (_, i) => new List(machine.memory, at + 2 + i * 2));
  return { head, nodes, words: machine.memory.words };
}

test("a list keeps the order in which nodes were added at its two ends", () => {
  const { head, nodes } = makeNodes(3);
  const [a, b, c] = nodes as [List, List, List];
  assert.equal(head.isEmpty(), true);
  assert.equal(head.first(), 0);
  assert.deepEqual([...head.nodes()], []);
  head.add(a);
  head.addTail(b);
  head.add(c);
  assert.deepEqual([...head.nodes()], [c.at, a.at, b.at]);
  assert.equal(head.first(), c.at);
  assert.equal(head.isEmpty(), false);
  assert.equal(a.isListed(), true);
});

test("a node may be taken off while the list is walked, and then added again", () => {
  const { head, nodes } = makeNodes(4);
  for (const node of nodes) head.addTail(node);
  for (const at of head.nodes())
    if (at !== nodes[1]!.at) nodes.find((node) => node.at === at)?.del();
  assert.deepEqual([...head.nodes()], [nodes[1]!.at]);
  head.addTail(nodes[0]!);
  assert.deepEqual([...head.nodes()], [nodes[1]!.at, nodes[0]!.at]);
});

test("a node that was taken off is poisoned, and to take it off again is caught", () => {
  const { head, nodes, words } = makeNodes(2);
  const [a, b] = nodes as [List, List];
  head.add(a);
  a.del();
  assert.deepEqual([words[a.at], words[a.at + 1]], [LIST_POISON_NEXT, LIST_POISON_PREV]);
  assert.equal(a.isListed(), false);
  assert.throws(() => a.del(), /it is in none/);
  assert.throws(() => b.del(), /it is in none/, "a node that was never listed");
});

test("to add a node that is listed is caught, in the same list or another", () => {
  const { head, nodes } = makeNodes(2);
  const [a, otherHead] = nodes as [List, List];
  otherHead.init();
  head.add(a);
  assert.throws(() => head.add(a), /it is in a list already/);
  assert.throws(() => otherHead.addTail(a), /it is in a list already/);
  assert.deepEqual([...head.nodes()], [a.at], "the list is as it was");
});

test("a list that was torn by somebody without the lock is noticed at the next removal", () => {
  const { head, nodes, words } = makeNodes(3);
  for (const node of nodes) head.addTail(node);
  words[nodes[0]!.at] = nodes[2]!.at; // skips the middle one, in one direction only
  assert.throws(() => nodes[1]!.del(), /its neighbours are not linked to it/);
});

test("random adds and removals agree with an array", (t) => {
  const seed = seedFor(t);
  const dice = diceOf(seed);
  const { head, nodes } = makeNodes(20);
  const model: number[] = [];
  for (let step = 0; step < 2000; step++) {
    const node = nodes[dice(nodes.length)]!;
    const place = model.indexOf(node.at);
    if (place >= 0) {
      node.del();
      model.splice(place, 1);
    } else if (dice(2) === 0) {
      head.add(node);
      model.unshift(node.at);
    } else {
      head.addTail(node);
      model.push(node.at);
    }
    assert.deepEqual([...head.nodes()], model, `seed ${seed}, step ${step}`);
  }
});
