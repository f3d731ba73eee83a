/**
 * @module What the state word of a lock, a completion and a sequence count allows. rwsem-words.ts
 * and srcu-words.ts have the same for their primitives. Both the primitives and the table of step
 * kinds use these functions.
 */

/** Whether a lock with this word is free. */
export function mayTake(lockWord: number): boolean {
  return lockWord === 0;
}

/** Whether a wait for a completion with this word need not wait. */
export function isComplete(count: number): boolean {
  return count > 0;
}

/** Whether a reader may begin at this sequence: no writer is inside. */
export function mayReadAt(sequence: number): boolean {
  return (sequence & 1) === 0;
}
