/**
 * @module Lock classes: the name under which all locks of one role are ordered, checked and
 * reported. The number of a class is its name's (name-registry.ts), so that a thread can name the
 * lock that another thread died with.
 */

import { NameRegistry } from "./name-registry.ts";

/** Declared once for each role, e.g. `lockClass("mmapLock")`; equal names give the same object. */
export interface LockClass {
  readonly name: string;
  /** 24 bits, never 0. */
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
