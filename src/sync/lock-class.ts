/**
 * @module Lock classes: all locks of one role share a class. Lockdep orders and reports classes.
 * The id of a class is that of its name (name-registry.ts). So a thread can name the lock that
 * another thread held when it died.
 */

import { NameRegistry } from "./name-registry.ts";

/** Declared once for each role, e.g. `lockClass("mmapLock")`; equal names give the same object. */
export interface LockClass {
  /** The name, for reports and for the order of locks. */
  readonly name: string;
  /** Its number: 24 bits, never 0. */
  readonly id: number;
}

export const lockClasses: NameRegistry<LockClass> = new NameRegistry(
  "lock class",
  "import the module that declares it",
);

/** The class of this name, for locks of one role: lockdep orders classes, not single locks. */
export function lockClass(name: string): LockClass {
  const id = lockClasses.declare(name);
  const known = lockClasses.find(id);
  if (known !== undefined) return known;
  const made: LockClass = { name, id };
  lockClasses.set(id, made);
  return made;
}
