/**
 * @module hmm/mirror/hmm
 * The end of a hmm: references are dropped, and the last one frees it. Follows Linux 5.3
 * `hmm_put`, `hmm_free` and `hmm_free_rcu` after patches 1, 3 and 4. Invariants H1 to H4 are in
 * hmm-struct.ts.
 */

import { Machine } from "../../memory/machine.ts";
import { Mm } from "../../mm/mm-struct.ts";
import { mmdrop } from "../../mm/lifetime/mm.ts";
import { mmuNotifierUnregisterNoRelease, notifierSrcu } from "../../notifier/mmu-notifier.ts";
import { lockClass } from "../../sync/lock-class.ts";
import {
  HELD_CALLBACK,
  enterCritical,
  heldTag,
  leaveCritical,
} from "../../sync/lockdep/held-locks.ts";
import type { SharedMemory } from "../../sync/shared-memory.ts";
import { registerSrcuCallback } from "../../sync/primitives/srcu-callbacks.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Hmm } from "../hmm-struct.ts";
import { freeInFlight } from "../in-flight.ts";

const freeTag = heldTag(lockClass("end of an hmm"), HELD_CALLBACK);

/**
 * Drops a reference; the last one ends the hmm. Legal inside a call-back: nothing here waits for
 * SRCU. `note`: a word that is not 0 while there is the reference, for who finds this thread dead;
 * when the last one is dropped, it is `last` until the hmm is gone. Linux: `hmm_put`.
 */
export function* hmmPut(
  machine: Machine,
  hmm: Hmm,
  note: number = 0,
  last: number = hmm.at,
): Task<void> {
  const { memory } = machine;
  // Only who goes on for a dead thread may find that it has dropped the last one.
  const mayBeDropped = note !== 0 && (memory.recovering || memory.reaping);
  const isDropped = mayBeDropped && (yield* hmm.refs.isZero());
  if (isDropped || (yield* hmm.refs.put(note, last))) yield* hmmFree(machine, hmm, note);
}

/**
 * `hmmPut`, where the word `note` becomes 0 in the step that drops the reference. If that was the
 * last one, a thread that dies before the hmm is gone leaves it, without a user.
 */
export function* hmmPutNoted(machine: Machine, hmm: Hmm, note: number): Task<void> {
  if (yield* hmm.refs.put(note)) yield* hmmFree(machine, hmm, 0);
}

/**
 * Patch 4's order: clear `mm.hmm`, so that nobody finds it; unlink the notifier, so that nobody is
 * called; free the memory after a grace period. Linux: `hmm_free`.
 */
function* hmmFree(machine: Machine, hmm: Hmm, note: number): Task<void> {
  if (note !== 0) enterCritical(hmm.memory, hmm.at, freeTag); // none of it can be done twice
  const mm = Mm.at(machine.memory, hmm.mm); // H3 of hmm-struct.ts: we hold the mmgrab
  yield* mm.pageTableLock.lock();
  if (mm.hmm === hmm.at) mm.hmm = 0; // a successor may already stand there (H4)
  yield* mm.pageTableLock.unlock();

  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, hmm.notifier);
  const srcu = yield* notifierSrcu(machine);
  // H1 of hmm-struct.ts: a call-back may still be reading it
  yield* srcu.call(HMM_FREE_RCU, hmm.rcu.at);
  if (note === 0) return;
  machine.memory.words[note] = 0;
  leaveCritical(machine.memory, hmm.at, freeTag);
}

/**
 * A grace period after hmmFree: nobody reads the memory any more. Pairs with the mmgrab of
 * hmmGetOrCreate. Linux: `hmm_free_rcu`.
 */
function* hmmFreeRcu(memory: SharedMemory, head: number): Task<void> {
  const machine = Machine.of(memory);
  const hmm = Hmm.at(memory, Hmm.containerOf(head, "rcu"));
  const mm = Mm.at(memory, hmm.mm);
  yield* freeInFlight(machine, hmm);
  yield* machine.heap.free(Hmm, hmm.at);
  yield* mmdrop(machine, mm);
}

const HMM_FREE_RCU: number = registerSrcuCallback("hmm free", hmmFreeRcu);
