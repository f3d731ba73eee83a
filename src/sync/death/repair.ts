/**
 * @module Locks whose holder may die because what they guard can be made anew. A driver forgets
 * what its device has learned of the address space, and the device asks for it again. So a class
 * of locks may have a repairer. A lock of such a class stays the dead thread's until a recoverer
 * (recovery.ts) has made what it guards whole, whatever state the death has left it in; then it is
 * released. To others the dead thread is a slow one until then.
 *
 *   P1  A repairer may run again from its beginning, if its thread dies in it.
 *   P2  It waits for no semaphore, and takes no lock that may be held while this one is waited for.
 *       It may flush: threads inside a store end it, or are dead and found so.
 *   P3  A thread that waits for such a lock holds no spinlock, and no other lock of such a class.
 *       So it may repair it (`mayRecover`). One whose tasks wait asynchronously may hold others: it
 *       recovers in a task of its own, which needs none of them.
 */

import type { SharedMemory } from "../shared-memory.ts";
import type { Task } from "../tasks/task.ts";

/** Makes whole what the lock at word `lock` guards. Its holder is dead. */
export type Repairer = (memory: SharedMemory, lock: number) => Task<void>;

const repairers = new Map<string, Repairer>();

/**
 * Registers how this thread repairs what a class of locks guards; in place of an earlier way. When
 * the module that takes such locks is loaded.
 */
export function registerRepairer(lockName: string, repairer: Repairer): void {
  repairers.set(lockName, repairer);
}

/** How locks of this class are repaired; undefined: they are not. */
export function repairerOf(lockName: string): Repairer | undefined {
  return repairers.get(lockName);
}
