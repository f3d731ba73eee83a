/**
 * @module A listener that counts what it hears: which invalidations are under way, how often it was
 * released. It is a device that reaches a frame of the space until it has been released.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { Machine } from "../../../../src/memory/machine.ts";
import {
  type Struct,
  type StructView,
  type WordArray,
  array,
  embed,
  struct,
  u32,
} from "../../../../src/memory/layout/struct.ts";
import { mmdrop, mmgrab } from "../../../../src/mm/lifetime/mm.ts";
import { ptePfn } from "../../../../src/mm/pte.ts";
import { EVENT_CLEAR, invalidateRange } from "../../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierRegister,
  mmuNotifierUnregister,
  registerNotifierOps,
} from "../../../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../../../src/notifier/subscriptions.ts";
import { EAGAIN } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { RefCount } from "../../../../src/sync/primitives/refcount.ts";
import { SRCU_CALL_WORDS } from "../../../../src/sync/primitives/srcu-callbacks.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";

export interface Listener extends StructView {
  readonly node: MmuNotifier;
  readonly call: WordArray;
  readonly inside: RefCount;
  readonly heard: RefCount;
  readonly released: RefCount;
  readonly refused: RefCount;
  pfn: number;
}

export const Listener: Struct<Listener> = struct<Listener>("coveredListener", {
  node: embed(MmuNotifier, "first field"),
  call: array(SRCU_CALL_WORDS, "itself", "for the deferred free"),
  inside: embed(RefCount, "1, and one for each invalidation that is under way"),
  heard: embed(RefCount, "1, and one for each start"),
  released: embed(RefCount, "1, and one for each release"),
  refused: embed(RefCount, "1, and one for each start that it refused"),
  pfn: u32("const", "the frame that it reaches"),
});

/** The first page's frame is there until the device has let go. */
export function* letGo(machine: Machine, { released, pfn }: Listener): Task<void> {
  yield* released.get();
  yield* machine.ram.refs.pageHas(pfn, 1);
  assert(
    machine.ram.refs.pageCount(pfn) > 0,
    "the frame was given back before the device had let go",
  );
}

/** Agrees to everything. */
export const LISTENER_OPS: number = registerNotifierOps("covered listener", {
  *invalidateRangeStart(machine, at): Task<number> {
    const { inside, heard } = Listener.at(machine.memory, at);
    yield* heard.get();
    yield* inside.get();
    return 0;
  },
  *invalidateRangeEnd(machine, at): Task<void> {
    const isLast = yield* Listener.at(machine.memory, at).inside.put();
    assert(!isLast, "a listener hears an end whose start it missed");
  },
  release: (machine, at) => letGo(machine, Listener.at(machine.memory, at)),
});

/** Refuses whoever may not wait, and never hears an end of that. */
export const REFUSING_OPS: number = registerNotifierOps("covered refusing listener", {
  *invalidateRangeStart(machine, at, { blockable }): Task<number> {
    const { inside, heard } = Listener.at(machine.memory, at);
    yield* heard.get();
    if (!blockable) return EAGAIN;
    yield* inside.get();
    return 0;
  },
  *invalidateRangeEnd(machine, at): Task<void> {
    const isLast = yield* Listener.at(machine.memory, at).inside.put();
    assert(!isLast, "a listener hears an end of what it refused");
  },
});

/** In the set-up: one that is not registered. */
export function newListener(harness: HmmHarness): Listener {
  const { machine } = harness;
  const listener = Listener.at(machine.memory, harness.run(machine.heap.alloc(Listener)));
  const { inside, heard, released, refused } = listener;
  for (const count of [inside, heard, released, refused]) count.init(1);
  listener.pfn = ptePfn(harness.entryOf(HARNESS_PAGE));
  return listener;
}

export function* register(
  { machine, mm }: HmmHarness,
  { node }: Listener,
  ops: number = LISTENER_OPS,
): Task<void> {
  yield* mmgrab(mm);
  yield* mm.mmapLock.downWrite();
  yield* mmuNotifierRegister(machine, mm.notifiers, node, ops);
  yield* mm.mmapLock.upWrite();
}

/** In the set-up: a registered one. */
export function listening(harness: HmmHarness, ops?: number): Listener {
  const listener = newListener(harness);
  harness.run(register(harness, listener, ops));
  return listener;
}

/** Pairs with `register`. */
export function* unregister({ machine, mm }: HmmHarness, { node }: Listener): Task<void> {
  yield* mmuNotifierUnregister(machine, mm.notifiers, node);
  yield* mmdrop(machine, mm);
}

/** The answer of the start. */
export function* invalidate({ machine, mm }: HmmHarness, blockable: boolean = true): Task<number> {
  const range = invalidateRange(mm, HARNESS_PAGE, HARNESS_PAGE + 1, EVENT_CLEAR, { blockable });
  yield* mm.mmapLock.downRead();
  const answer = yield* mmuNotifierInvalidateRangeStart(machine, range);
  if (answer === 0) yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
  return answer;
}
