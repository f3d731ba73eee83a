/**
 * @module Queues made of atomic words: Michael and Scott's, and a ring buffer of many producers and
 * consumers.
 */

import type { Cell, Places } from "../../../src/checker/primitives/program.ts";
import type { Scenario } from "../../../src/checker/scenario.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { assume } from "./assume.ts";
import { program } from "./program-of.ts";
import type { Body } from "./program-of.ts";

type Program = Scenario<unknown>;

interface MsQueue {
  readonly head: Cell;
  readonly tail: Cell;
  readonly values: readonly Cell[];
  readonly next: readonly Cell[];
  readonly never: Cell;
}

/** A pointer is a node with a count of changes above it. */
const COUNT = 0x10000;
const nodeOf = (pointer: number): number => pointer % COUNT;
const raised = (node: number, pointer: number): number =>
  (Math.floor(pointer / COUNT) + 1) * COUNT + node;
const NODES = 4;
/** A loop that goes round more often is given up. */
const UNROLLED = 3;

function* msEnqueue({ tail, values, next, never }: MsQueue, node: number): Task<void> {
  yield* values[node]!.store(node * 10);
  yield* next[node]!.load();
  yield* next[node]!.store(0);
  for (let round = 0; ; round++) {
    if (round === UNROLLED) yield* never.waitWhile(0);
    const last = yield* tail.load();
    const after = yield* next[nodeOf(last)]!.load();
    if (last !== (yield* tail.load())) continue;
    if (
      nodeOf(after) === 0 &&
      (yield* next[nodeOf(last)]!.compareExchange(after, raised(node, after)))
    ) {
      yield* tail.compareExchange(last, raised(node, last));
      return;
    }
    const behind = nodeOf(yield* next[nodeOf(last)]!.load());
    yield* tail.compareExchange(last, raised(behind, last));
  }
}

/**
 * A round that changed nothing, and a head that was taken away, are spins: assumed not to happen.
 */
function* msDequeue({ head, tail, values, next, never }: MsQueue): Task<void> {
  for (let round = 0; ; round++) {
    if (round === UNROLLED) yield* never.waitWhile(0);
    const first = yield* head.load();
    const last = yield* tail.load();
    const after = yield* next[nodeOf(first)]!.load();
    if ((yield* head.load()) !== first) yield* never.waitWhile(0);
    if (nodeOf(first) === nodeOf(last)) {
      if (nodeOf(after) === 0) return;
      yield* tail.compareExchange(last, raised(nodeOf(after), last));
      continue;
    }
    yield* values[nodeOf(after)]!.load();
    if (yield* head.compareExchange(first, raised(nodeOf(after), first))) return;
    yield* never.waitWhile(0);
  }
}

/** Two tasks, each of which enqueues one node and dequeues one. */
export function msQueue(): Program {
  const start = (places: Places): MsQueue => {
    const queue = {
      head: places.cell("head", 1),
      tail: places.cell("tail", 1),
      values: places.cells("value", NODES),
      next: places.cells("next", NODES),
      never: places.cell("never"),
    };
    return queue;
  };
  const body = (node: number): Body<MsQueue> =>
    function* (queue) {
      yield* msEnqueue(queue, node);
      yield* msDequeue(queue);
    };
  return program("ms-queue", start, [body(2), body(3)]);
}

interface Ring {
  readonly producerHead: Cell;
  readonly producerTail: Cell;
  readonly consumerHead: Cell;
  readonly consumerTail: Cell;
  readonly slots: readonly Cell[];
  readonly never: Cell;
}

const SLOTS = 8;

function* ringEnqueue(ring: Ring, message: number): Task<void> {
  const head = yield* ring.producerHead.load();
  const next = (head + 1) % SLOTS;
  if (next === (yield* ring.consumerTail.load())) return;
  if (!(yield* ring.producerHead.compareExchange(head, next))) yield* ring.never.waitWhile(0);
  yield* ring.slots[head]!.store(message);
  yield* assume(ring.producerTail, (tail) => tail === head, ring.never);
  yield* ring.producerTail.store(next);
}

function* ringDequeue(ring: Ring): Task<void> {
  const head = yield* ring.consumerHead.load();
  if (head === (yield* ring.producerTail.load())) return;
  if (!(yield* ring.consumerHead.compareExchange(head, (head + 1) % SLOTS)))
    yield* ring.never.waitWhile(0);
  yield* ring.slots[head]!.load();
  yield* assume(ring.consumerTail, (tail) => tail === head, ring.never);
  yield* ring.consumerTail.store((head + 1) % SLOTS);
}

/** Three tasks, each of which puts one message in and takes one out. */
export function bufRing(): Program {
  const start = (places: Places): Ring => ({
    producerHead: places.cell("producerHead"),
    producerTail: places.cell("producerTail"),
    consumerHead: places.cell("consumerHead"),
    consumerTail: places.cell("consumerTail"),
    slots: places.cells("slot", SLOTS),
    never: places.cell("never"),
  });
  const body = (own: number): Body<Ring> =>
    function* (ring) {
      yield* ringEnqueue(ring, own);
      yield* ringDequeue(ring);
    };
  return program("buf_ring", start, [body(1), body(2), body(3)]);
}
