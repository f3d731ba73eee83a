/**
 * @module hmm/mirror/hmm
 * The end of a hmm: references are dropped, and the last one frees it. Follows Linux 5.3
 * `hmm_put`, `hmm_free` and `hmm_free_rcu` after patches 1, 3 and 4. Invariants H1 to H4 are in
 * hmm-struct.ts.
 *
 * A word notes the reference that is dropped, and the end of the hmm if that was the last one,
 * until the call that frees the memory is queued. What is done before that may be done again, by
 * who finds the thread dead.
 */

import { Machine } from "../../memory/machine.ts";
import { MM_COUNT, Mm } from "../../mm/mm-struct.ts";
import { mmdrop } from "../../mm/lifetime/mm.ts";
import { mmuNotifierUnregisterNoRelease, notifierSrcu } from "../../notifier/mmu-notifier.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import {
  kindWord,
  registerHeir,
  reserveResource,
  resourceKind,
  takeNoted,
} from "../../sync/lockdep/resources.ts";
import { registerSrcuCallback } from "../../sync/primitives/srcu-callbacks.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Hmm } from "../hmm-struct.ts";
import { freeInFlight } from "../in-flight.ts";

/** A reference that a thread has in hand. */
const REFERENCE: number = resourceKind("reference of an hmm");
/** A hmm without a reference, whose end this thread has begun. */
const ENDING: number = resourceKind("hmm that ends");

/**
 * A reference, unless the hmm is dying: then 0. Else the word that notes it, for `hmmPut`: the
 * reference is a resource of this thread, if the list has room; if not, -1.
 */
export function* hmmHold(hmm: Hmm): Task<number> {
  const { memory } = hmm;
  const note = kindWord(memory, reserveResource(memory, hmm.at));
  const isHeld = yield* hmm.refs.getNotZero(note, REFERENCE);
  return isHeld ? note || -1 : 0;
}

/** Pairs with {@link hmmHold}, of which `held` is the answer. */
export function hmmRelinquish(machine: Machine, hmm: Hmm, held: number): Task<void> {
  return held < 0 ? hmmPut(machine, hmm) : hmmPut(machine, hmm, held, ENDING);
}

/**
 * Drops a reference; the last one ends the hmm. Legal inside a call-back: nothing here waits for
 * SRCU. `note`: a word that is not 0 while there is the reference, for who finds this thread dead;
 * when the last one is dropped, it is `last` until the hmm is gone. Without one the end is a
 * resource of this thread. Linux: `hmm_put`.
 */
export function* hmmPut(
  machine: Machine,
  hmm: Hmm,
  note: number = 0,
  last: number = -hmm.at,
): Task<void> {
  const { memory } = machine;
  if (note === 0) {
    const own = kindWord(memory, reserveResource(memory, hmm.at));
    if (yield* hmm.refs.put(own, ENDING)) yield* hmmFree(machine, hmm, own);
    return;
  }
  // Only who goes on for a dead thread may find that it has dropped the last one.
  const isDropped = memory.words[note] === last;
  if (isDropped || (yield* hmm.refs.put(note, last))) yield* hmmFree(machine, hmm, note);
}

/**
 * Patch 4's order: clear `mm.hmm`, so that nobody finds it; unlink the notifier, so that nobody is
 * called; free the memory after a grace period. Linux: `hmm_free`.
 */
function* hmmFree(machine: Machine, hmm: Hmm, note: number): Task<void> {
  const mm = Mm.at(machine.memory, hmm.mm); // H3 of hmm-struct.ts: we hold the mmgrab
  yield* mm.pageTableLock.lock();
  if (mm.hmm === hmm.at) mm.hmm = 0; // a successor may already stand there (H4)
  yield* mm.pageTableLock.unlock();

  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, hmm.notifier);
  const srcu = yield* notifierSrcu(machine);
  // H1 of hmm-struct.ts: a call-back may still be reading it
  yield* srcu.call(HMM_FREE_RCU, hmm.rcu.at, note);
}

/**
 * A grace period after hmmFree: nobody reads the memory any more. Pairs with the mmgrab of
 * hmmGetOrCreate, which is this thread's own when the memory is free. Linux: `hmm_free_rcu`.
 */
function* hmmFreeRcu(memory: SharedMemory, head: number, slot: number): Task<void> {
  const machine = Machine.of(memory);
  const hmm = Hmm.at(memory, Hmm.containerOf(head, "rcu"));
  yield* freeInFlight(machine, hmm);
  const mmAt = hmm.mm;
  const count = mmAt === 0 ? -1 : takeCount(hmm, mmAt);
  yield* machine.heap.free(Hmm, hmm.at, slot);
  // 0: the count is a resource of a thread that has died in here
  if (mmAt !== 0) yield* mmdrop(machine, Mm.at(memory, mmAt), count);
}

/** The hmm's count of its mm becomes this thread's. Returns its slot, or -1: the list is full. */
function takeCount({ memory, at }: Hmm, mmAt: number): number {
  return takeNoted(memory, MM_COUNT, mmAt, at + Hmm.offset.mm);
}

registerHeir(REFERENCE, (memory, at, slot) =>
  hmmPut(Machine.of(memory), Hmm.at(memory, at), kindWord(memory, slot), ENDING),
);

registerHeir(ENDING, (memory, at, slot) =>
  hmmFree(Machine.of(memory), Hmm.at(memory, at), kindWord(memory, slot)),
);

const HMM_FREE_RCU: number = registerSrcuCallback("hmm free", hmmFreeRcu);
