/**
 * @module space/space-table
 * The live address spaces of a machine, by number: so that a handle, which may be old, foreign or
 * made up, names a space without being a pointer. Nothing in it is followed unless the table lists
 * it. One table for each machine, in the kernel heap.
 *
 *   T1  A record is listed exactly while it has holders. A holder is one AddressSpace object of
 *       some thread; it owns one mm user (R2). So the mm of a listed record is allocated memory and
 *       has users.
 *   T2  Numbers are given out once. A number that the table does not list names a space that is
 *       gone.
 *   T3  A holder is listed among its thread's resources: when the thread dies, the reaper drops it.
 *
 * Lock: spacesLock around the list and the holder counts.
 */

import { List } from "../memory/layout/list.ts";
import { Machine } from "../memory/machine.ts";
import {
  type Struct,
  type StructView,
  embed,
  pointer,
  struct,
  u32,
} from "../memory/layout/struct.ts";
import { mmget, mmput } from "../mm/lifetime/mm.ts";
import { Mm } from "../mm/mm-struct.ts";
import { atomicLoad } from "../sync/atomics.ts";
import { EMFILE, ENOMEM, type Errno, ESTALE } from "../sync/errno.ts";
import {
  addResource,
  registerReleaser,
  removeResource,
  resourceKind,
} from "../sync/death/resources.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";
import type { Task } from "../sync/tasks/task.ts";

interface SpaceTable extends StructView {
  readonly lock: Spinlock;
  readonly live: List;
  idLow: number;
  idHigh: number;
  lastNumber: number;
}

const SpaceTable: Struct<SpaceTable> = struct<SpaceTable>("spaceTable", {
  lock: embed(Spinlock, "the list of live spaces and their holder counts", "spacesLock"),
  live: embed(List, "head of the records"),
  idLow: u32("const", "the machine's id: random, so that a handle of another machine is known"),
  idHigh: u32("const", "its other half"),
  lastNumber: u32("spacesLock", "number given to a space last (T2)"),
});

interface SpaceRecord extends StructView {
  readonly node: List;
  number: number;
  mm: number;
  holders: number;
}

const SpaceRecord: Struct<SpaceRecord> = struct<SpaceRecord>("spaceRecord", {
  node: embed(List, "in the table's list (T1)"),
  number: u32("const", "its name (T2)"),
  mm: pointer("const", "kept by the holders' users"),
  holders: u32("spacesLock", "AddressSpace objects, of all threads"),
});

const SPACE_RESOURCE: number = resourceKind("address space");

/** One thread's hold on a space: what an AddressSpace object stands for. */
export interface SpaceHold {
  /** Pointer of the record. */
  readonly record: number;
  /** Slot in the thread's list of resources. */
  readonly slot: number;
  readonly mm: Mm;
  readonly number: number;
}

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

export type { SpaceTable };

/** The machine's id as text. */
export function machineIdOf(table: SpaceTable): string {
  const half = (word: number): string => word.toString(16).padStart(8, "0");
  return half(table.idHigh) + half(table.idLow);
}

/**
 * Lists a new mm, whose one user the hold takes over in any case. ENOMEM, EMFILE: then the user is
 * dropped.
 */
export function* enlistSpace(
  machine: Machine,
  table: SpaceTable,
  mmAt: number,
): Task<SpaceHold | Errno> {
  const mm = Mm.at(machine.memory, mmAt);
  const at = yield* machine.heap.alloc(SpaceRecord);
  if (at === 0) {
    yield* mmput(machine, mm);
    return ENOMEM;
  }
  const record = SpaceRecord.at(machine.memory, at);
  record.mm = mmAt;
  yield* table.lock.lock();
  const slot = addHolder(machine, record);
  if (slot >= 0) {
    table.lastNumber += 1;
    record.number = table.lastNumber;
    table.live.addTail(record.node);
  }
  yield* table.lock.unlock();
  if (slot >= 0) return { record: at, slot, mm, number: record.number };
  yield* machine.heap.free(SpaceRecord, at);
  yield* mmput(machine, mm);
  return EMFILE;
}

/**
 * Counts a holder and lists it among what this thread owns (T3): the slot, or -1 when that is too
 * much. Holding spacesLock, and a user for the holder.
 */
function addHolder(machine: Machine, record: SpaceRecord): number {
  const slot = addResource(machine.memory, SPACE_RESOURCE, record.at);
  if (slot >= 0) record.holders += 1;
  return slot;
}

/** A further hold on a listed space. ESTALE when it is gone (T2), EMFILE. */
export function* holdSpace(
  machine: Machine,
  table: SpaceTable,
  number: number,
): Task<SpaceHold | Errno> {
  yield* table.lock.lock();
  const result = yield* holdLocked(machine, table, number);
  yield* table.lock.unlock();
  return result;
}

/** T1: the record's holders have users, so the mm's count is not 0. Holding spacesLock. */
function* holdLocked(machine: Machine, table: SpaceTable, number: number): Task<SpaceHold | Errno> {
  const { memory } = machine;
  for (const node of table.live.nodes()) {
    const record = SpaceRecord.at(memory, SpaceRecord.containerOf(node, "node"));
    if (record.number !== number) continue;
    const mm = Mm.at(memory, record.mm);
    const slot = addHolder(machine, record);
    if (slot < 0) return EMFILE;
    yield* mmget(mm);
    return { record: record.at, slot, mm, number };
  }
  return ESTALE;
}

/** Ends a hold: drops its user, and with the last one the address space. */
export function releaseSpace(machine: Machine, hold: SpaceHold): Task<void> {
  return dropHolder(machine, hold.record, () => removeResource(machine.memory, hold.slot));
}

/** `disown` takes the hold off its thread's list, directly before anything is given back. */
function* dropHolder(machine: Machine, at: number, disown: () => void): Task<void> {
  const table = yield* findSpaceTable(machine);
  if (table === undefined) return;
  const record = SpaceRecord.at(machine.memory, at);
  const mm = Mm.at(machine.memory, record.mm);
  yield* table.lock.lock();
  disown();
  record.holders -= 1;
  const isLast = record.holders === 0;
  if (isLast) record.node.del();
  yield* table.lock.unlock();
  if (isLast) yield* machine.heap.free(SpaceRecord, at);
  yield* mmput(machine, mm);
}

/** T3. */
registerReleaser(SPACE_RESOURCE, (memory, at) => dropHolder(Machine.of(memory), at, () => {}));
