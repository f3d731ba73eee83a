/**
 * @module memory/layout/undo-field
 * Fields of structs whose stores are in the undo log (sync/words/undo-log.ts). The lock is that of
 * the change under way, `memory.undoLock`: whoever begins a change of a structure sets it, and
 * waits for nothing before the change is made.
 */

import { noteUndo } from "../../sync/words/undo-log.ts";
import type { PlainField, Struct, StructView } from "./struct.ts";

/** The field as a plain word, of which each store can be undone. */
export function undoField<T extends StructView>(
  info: Struct<T>,
  name: Parameters<Struct<T>["plain"]>[0],
): PlainField {
  const plain = info.plain(name);
  const offset = info.offset[name];
  return {
    load: (memory, at) => plain.load(memory, at),
    store(memory, at, value) {
      noteUndo(memory, memory.undoLock, at + offset, plain.load(memory, at) | 0);
      plain.store(memory, at, value);
    },
  };
}
