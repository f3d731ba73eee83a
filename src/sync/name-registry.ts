/**
 * @module Registries by name: lock classes, structs, the code of drivers and callbacks. Shared
 * memory cannot hold code. It holds a number, by which each thread finds its own code.
 *
 * G1. The number of a name is a hash of it. So all threads compute the same number, and nobody
 *     allocates it.
 * G2. The second of two names with one number is refused when it is declared.
 * G3. A name may be declared before it has a value. If a thread has not loaded the module that sets
 *     the value, `get` throws and says what to load.
 */

import { bug } from "./errors.ts";

/** A number of 24 bits, never 0, equal in all threads: FNV-1a, folded. */
export function nameHash(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 24) ^ (hash & 0xffffff) || 1;
}

/** Values of one kind, by name and by the name's number. */
export class NameRegistry<T> {
  readonly #kind: string;
  readonly #remedy: string;
  readonly #names = new Map<number, string>();
  readonly #values = new Map<number, T>();

  /** For messages: `kind` in the plural, and what to do if a value is missing (G3). */
  constructor(kind: string, remedy: string) {
    this.#kind = kind;
    this.#remedy = remedy;
  }

  /** The number of `name`. Throws AssertionFailure if another name has the same one (G2). */
  declare(name: string): number {
    const id = nameHash(name);
    const known = this.#names.get(id);
    if (known !== undefined && known !== name) {
      bug(`Cannot declare ${this.#kind} "${name}": "${known}" has the same number; rename one`);
    }
    this.#names.set(id, name);
    return id;
  }

  /** Declares `name` and gives it a value, in place of an earlier one. Returns its number. */
  register(name: string, value: T): number {
    const id = this.declare(name);
    this.#values.set(id, value);
    return id;
  }

  /** Gives a declared number its value. */
  set(id: number, value: T): void {
    this.#values.set(id, value);
  }

  find(id: number): T | undefined {
    return this.#values.get(id);
  }

  /** Whether the name has a value in this thread. */
  has(name: string): boolean {
    const id = nameHash(name);
    return this.#names.get(id) === name && this.#values.has(id);
  }

  /** Throws AssertionFailure if this thread has no value (G3). */
  get(id: number): T {
    return this.#values.get(id) ?? this.#missing(id);
  }

  #missing(id: number): never {
    const what = `Cannot use ${this.#kind} ${this.#names.get(id) ?? id}`;
    if (id >>> 24 !== 0)
      bug(`${what}: no name has that number; what it was read from has been freed, or stored to`);
    bug(`${what}: this thread has not loaded them; ${this.#remedy}`);
  }

  /** For messages. The number may be one that only another thread has declared. */
  nameOf(id: number): string {
    return this.#names.get(id) ?? `${this.#kind} ${id}`;
  }

  /** How many names have a value. */
  get size(): number {
    return this.#values.size;
  }

  values(): IterableIterator<T> {
    return this.#values.values();
  }
}
