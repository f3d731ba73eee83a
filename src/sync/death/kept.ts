/**
 * @module What a dead thread keeps until a recoverer has been there (recovery.ts): who found it
 * dead (death.ts) gives up all else.
 */

import {
  HELD_EXCLUSIVE,
  HELD_SHARED,
  HELD_SRCU,
  type HeldSlot,
  heldClassName,
  heldMode,
  heldSlots,
} from "../lockdep/held-locks.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { hasOperationUnder, noticesOf, operationsOf } from "../words/operations.ts";
import { repairerOf } from "./repair.ts";

/** A lock of which what it guards is made anew. */
export function isRepaired({ tag }: HeldSlot): boolean {
  return heldMode(tag) === HELD_EXCLUSIVE && repairerOf(heldClassName(tag)) !== undefined;
}

/** Whether the record's thread keeps what the slot names, when it is dead. */
export function isKept({ words }: SharedMemory, record: number, slot: HeldSlot): boolean {
  const mode = heldMode(slot.tag);
  if (mode === HELD_SRCU || isRepaired(slot)) return true;
  return mode <= HELD_SHARED && hasOperationUnder(words, record, slot.at);
}

/** Whether there is anything for a recoverer in the record of a dead thread. */
export function keepsAny(memory: SharedMemory, record: number): boolean {
  const { words } = memory;
  if (operationsOf(words, record).length > 0 || noticesOf(words, record).length > 0) return true;
  return heldSlots(memory, record).some((slot) => isKept(memory, record, slot));
}
