/**
 * @module What the state word of a small primitive allows: of a lock, a completion, a sequence
 * count. rwsem-words.ts and srcu-words.ts say the same of theirs. The primitives and the table of
 * step kinds both ask here.
 */

/** Whether a lock whose word is this can be taken. */
export function mayTake(lockWord: number): boolean {
  return lockWord === 0;
}

/** Whether a wait for a completion is over where its word is this. */
export function isComplete(count: number): boolean {
  return count > 0;
}

/** Whether a reader may begin where the sequence is this: no writer is inside. */
export function mayReadAt(sequence: number): boolean {
  return (sequence & 1) === 0;
}
