/**
 * @module space/space-table
 * The live address spaces of a machine, by number. A handle may be old, of another machine or made
 * up. So it names a space by number, and a thread follows only pointers that stand in the table.
 * One table for each machine, in the kernel heap.
 *
 *   T1  A record is listed exactly while it has holders (space-hold.ts). Each holder owns one mm
 *       user (R2). So the mm of a listed record is allocated memory and has users.
 *   T2  Numbers are given out once. A number that the table does not list names a space that is
 *       gone.
 *
 * Lock: spacesLock around the list and the holder counts. Who dies with it has changed nothing
 * (sync/words/undo-log.ts).
 */

import { List } from "../memory/layout/list.ts";
import type { Machine } from "../memory/machine.ts";
import {
  type Struct,
  type StructView,
  embed,
  pointer,
  struct,
  u32,
} from "../memory/layout/struct.ts";
import { atomicLoad } from "../sync/atomics.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";
import type { Task } from "../sync/tasks/task.ts";

export interface SpaceTable extends StructView {
  readonly lock: Spinlock;
  readonly live: List;
  idLow: number;
  idHigh: number;
  lastNumber: number;
}

export const SpaceTable: Struct<SpaceTable> = struct<SpaceTable>("spaceTable", {
  lock: embed(Spinlock, "the list of live spaces and their holder counts", "spacesLock"),
  live: embed(List, "head of the records"),
  idLow: u32("const", "the machine's id: random, so that another machine's handle is noticed"),
  idHigh: u32("const", "its other half"),
  lastNumber: u32("spacesLock", "number given to a space last (T2)"),
});

export interface SpaceRecord extends StructView {
  readonly node: List;
  number: number;
  mm: number;
  holders: number;
}

export const SpaceRecord: Struct<SpaceRecord> = struct<SpaceRecord>("spaceRecord", {
  node: embed(List, "in the table's list (T1)"),
  number: u32("const", "its name (T2)"),
  mm: pointer("const", "kept by the holders' users"),
  holders: u32("spacesLock", "AddressSpace objects, of all threads"),
});

/** Makes the table of a new machine. `id` is two random words. Throws HmmError ENOMEM. */
export function* createSpaceTable(machine: Machine, id: Uint32Array): Task<SpaceTable> {
  return yield* machine.heap.singleton(SpaceTable, (table) => {
    table.lock.init();
    table.live.init();
    table.idLow = id[0]!;
    table.idHigh = id[1]!;
  });
}

/** The table of a machine that another thread made, or undefined: then it has no address spaces. */
export function* findSpaceTable(machine: Machine): Task<SpaceTable | undefined> {
  const at = atomicLoad(machine.memory.words, yield* machine.heap.root(SpaceTable.name));
  return at === 0 ? undefined : SpaceTable.at(machine.memory, at);
}

/** The machine's id as text. */
export function machineIdOf(table: SpaceTable): string {
  const half = (word: number): string => word.toString(16).padStart(8, "0");
  return half(table.idHigh) + half(table.idLow);
}

/** The record of that number, or undefined (T2). Holding spacesLock. */
export function recordOfNumber(table: SpaceTable, number: number): SpaceRecord | undefined {
  for (const node of table.live.nodes()) {
    const record = SpaceRecord.at(table.memory, SpaceRecord.containerOf(node, "node"));
    if (record.number === number) return record;
  }
  return undefined;
}
