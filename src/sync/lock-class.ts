/**
 * @module Lock classes: the name under which all locks of one role are ordered, checked and
 * reported.
 *
 * An id is a hash of the name, so that every thread computes the same one and a thread can name the
 * lock that another thread died with. Two names with one hash are refused when the second is
 * declared.
 */

import { bug } from "./errors.ts";

/** Declared once for each role, e.g. `lockClass("mmapLock")`; equal names give the same object. */
export interface LockClass {
  readonly name: string;
  /** 24 bits, never 0. */
  readonly id: number;
}

const byName = new Map<string, LockClass>();
const byId = new Map<number, LockClass>();

/** The class of this name, for locks of one role: lockdep orders classes, not single locks. */
export function lockClass(name: string): LockClass {
  const known = byName.get(name);
  if (known !== undefined) return known;
  const made: LockClass = { name, id: nameHash(name) };
  const other = byId.get(made.id);
  if (other !== undefined)
    bug(`lock classes ${name} and ${other.name} have the same hash: rename one`);
  byName.set(name, made);
  byId.set(made.id, made);
  return made;
}

/** Name of a class that another thread may have declared. */
export function lockClassName(id: number): string {
  return byId.get(id)?.name ?? `lock class #${id}`;
}

/** FNV-1a folded to 24 bits, never 0: a stable number for a name, equal in all threads. */
export function nameHash(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 24) ^ (hash & 0xffffff) || 1;
}
