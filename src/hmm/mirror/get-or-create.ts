/**
 * @module hmm/mirror/get-or-create
 * The one live hmm of an address space: found, or made. Follows Linux 5.3 `hmm_get_or_create` after
 * patch 4. The mmap lock for writing serialises creators. pageTableLock excludes the last put, so a
 * hmm that is found is not freed. The notifier is registered before the hmm is published, so nobody
 * finds a hmm whose creation fails.
 *
 *     the old way                                why it failed
 *     look, allocate, publish, then register     two creators: one got "no memory"
 *     mm.hmm read without a lock                 freed between the read and the get
 *     published before registered                registration failed: the finder held freed memory
 *
 * Invariants H1 to H4 are in hmm-struct.ts. A hmm that is being made is a resource of its thread:
 * first its memory, and from the count of the mm on its one reference. So whoever finds the thread
 * dead drops that, whether the notifier was registered and the hmm published, or not.
 */

import { Machine } from "../../memory/machine.ts";
import type { Mm } from "../../mm/mm-struct.ts";
import { mmgrab } from "../../mm/lifetime/mm.ts";
import { replayHolds } from "../../mm/view/view-hold.ts";
import { mmuNotifierRegister } from "../../notifier/mmu-notifier.ts";
import {
  findResource,
  kindWord,
  registerHeir,
  resourceKind,
} from "../../sync/lockdep/resources.ts";
import { ENOMEM } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { Hmm, hmmInit } from "../hmm-struct.ts";
import { hmmRelinquish } from "./hmm.ts";
import { HMM_NOTIFIER_OPS } from "./invalidate.ts";

/**
 * The hmm of `mm` with one reference for the caller (hmmPut), or ENOMEM. Holding the mmap lock for
 * writing, which serialises creation, and an mm user.
 */
export function* hmmGetOrCreate(machine: Machine, mm: Mm, note: HmmNote = NO_NOTE): Task<number> {
  mm.mmapLock.assertHeldWrite();
  const found = yield* hmmGet(machine, mm, note);
  if (found !== 0) return found;
  return yield* create(machine, mm, note);
}

/** Words that note the caller's reference, in case that its thread dies. */
export interface HmmNote {
  /** Names the hmm; 0: there are no such words. */
  readonly hmm: number;
  /** Becomes `isOwner` in the step that gets the reference. */
  readonly owns: number;
  readonly isOwner: number;
}

const NO_NOTE: HmmNote = { hmm: 0, owns: 0, isOwner: 0 };

/** What is being made: memory, or a reference. */
const MAKING: number = resourceKind("hmm being made");

function* create(machine: Machine, mm: Mm, note: HmmNote): Task<number> {
  const { memory } = machine;
  const at = yield* machine.heap.alloc(Hmm, MAKING);
  if (at === 0) return ENOMEM;
  const slot = findResource(memory, MAKING, at);
  const hmm = Hmm.at(memory, at);
  hmmInit(hmm, 0);
  // H3 of hmm-struct.ts; pairs with the mmdrop in hmmFreeRcu
  yield* mmgrab(mm, at + Hmm.offset.mm, mm.at);
  yield* mmuNotifierRegister(machine, mm.notifiers, hmm.notifier, HMM_NOTIFIER_OPS);
  yield* replayHolds(machine, mm, hmm.notifier);

  yield* mm.pageTableLock.lock();
  mm.hmm = at; // over 0, or over a dying one (H4)
  yield* mm.pageTableLock.unlock();
  give(machine, at, note, slot);
  return at;
}

/**
 * The reference is the caller's: its notes are written in a row (H1 of sync/lockdep/held-locks.ts).
 */
function give(
  { memory }: Machine,
  at: number,
  { hmm, owns, isOwner }: HmmNote,
  slot: number,
): void {
  const { words } = memory;
  const kindAt = kindWord(memory, slot);
  if (hmm !== 0) words[hmm] = at;
  if (hmm !== 0) words[owns] = isOwner;
  if (kindAt !== 0) words[kindAt] = 0;
}

registerHeir(MAKING, function* (memory, at, slot) {
  const machine = Machine.of(memory);
  const hmm = Hmm.at(memory, at);
  if (hmm.mm === 0) yield* machine.heap.free(Hmm, at, slot);
  else yield* hmmRelinquish(machine, hmm, kindWord(memory, slot) || -1);
});

/**
 * The live hmm of `mm` with one more reference for the caller (hmmPut), or 0. `mm.hmm` never points
 * to freed memory: hmmFree clears it under the same lock before the grace period begins.
 */
export function* hmmGet(machine: Machine, mm: Mm, note: HmmNote = NO_NOTE): Task<number> {
  yield* mm.pageTableLock.lock();
  const at = mm.hmm;
  if (note.hmm !== 0) machine.memory.words[note.hmm] = at;
  const isLive =
    at !== 0 && (yield* Hmm.at(machine.memory, at).refs.getNotZero(note.owns, note.isOwner));
  if (!isLive && note.hmm !== 0) machine.memory.words[note.hmm] = 0;
  yield* mm.pageTableLock.unlock();
  return isLive ? at : 0;
}
