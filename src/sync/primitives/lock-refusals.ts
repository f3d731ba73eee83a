/**
 * @module sync/primitives/lock-refusals
 * What no lock may be asked for. Before a task waits, or takes a lock at all.
 */

import { EDEADLK } from "../errno.ts";
import { HmmError, bug } from "../errors.ts";
import type { LockClass } from "../lock-class.ts";
import { heldBeneath } from "../lockdep/held-locks.ts";
import { DETACHED } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";

/** Throws EDEADLK if this task, or one that waits for it to return, holds the lock at `at`. */
export function refuseSelfWait(memory: SharedMemory, at: number, { name }: LockClass): void {
  if (!heldBeneath(memory, at)) return;
  throw new HmmError(
    EDEADLK,
    "lock",
    `Cannot wait for ${name}: this task, or one that waits for it to return, holds it; release it first`,
  );
}

/** The held table is that of a thread's record. */
export function requireAgent({ mode }: SharedMemory): void {
  if (mode === DETACHED)
    bug("this thread is not registered on the machine: call registerAgent first");
}
