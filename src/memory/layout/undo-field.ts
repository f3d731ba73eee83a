/**
 * @module memory/layout/undo-field
 * Fields of structs whose stores are in the undo log (sync/words/undo-log.ts). The lock is that of
 * the change under way, `memory.undoLock`: whoever begins a change of a structure sets it, and
 * waits for nothing before the change is made.
 */

import type { SharedMemory } from "../../sync/shared-memory.ts";
import { noteUndo } from "../../sync/words/undo-log.ts";
import type { PlainField, Struct, StructView } from "./struct.ts";

class UndoWord implements PlainField {
  readonly #plain: PlainField;
  readonly #offset: number;

  constructor(plain: PlainField, offset: number) {
    this.#plain = plain;
    this.#offset = offset;
  }

  load(memory: SharedMemory, at: number): number {
    return this.#plain.load(memory, at);
  }

  store(memory: SharedMemory, at: number, value: number): void {
    noteUndo(memory, memory.undoLock, at + this.#offset, this.#plain.load(memory, at) | 0);
    this.#plain.store(memory, at, value);
  }
}

/** The field as a plain word, of which each store can be undone. */
export function undoField<T extends StructView>(
  info: Struct<T>,
  name: Parameters<Struct<T>["plain"]>[0],
): PlainField {
  return new UndoWord(info.plain(name), info.offset[name]);
}
