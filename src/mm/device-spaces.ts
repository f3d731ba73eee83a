/**
 * @module mm/device-spaces
 * The address spaces of a machine that may have pages in a device's memory: whoever empties such a
 * memory looks for them there. Linux finds them by the reverse mapping of each page; here a page
 * has none.
 *
 *   J1  A space is in the list before an entry of it names a frame of a device, until exit has
 *       cleared its entries. So a frame that is used is named by an entry of a listed space, or
 *       referred to by a thread that is about to put it.
 *   J2  Who takes a space from the list has it only while it holds a user, from `mmgetNotZero`
 *       under deviceSpacesLock: exit leaves the list with the users at 0, and frees the struct
 *       after that.
 */

import type { Machine } from "../memory/machine.ts";
import { List } from "../memory/layout/list.ts";
import {
  type PlainField,
  type Struct,
  type StructView,
  embed,
  struct,
} from "../memory/layout/struct.ts";
import { undoField } from "../memory/layout/undo-field.ts";
import { atomicLoad } from "../sync/atomics.ts";
import { HmmError } from "../sync/errors.ts";
import { kindWord, reserveResource } from "../sync/lockdep/resources.ts";
import { Spinlock } from "../sync/primitives/spinlock.ts";
import { REAL } from "../sync/shared-memory.ts";
import type { Task } from "../sync/tasks/task.ts";
import { MM_USER, Mm } from "./mm-struct.ts";

interface DeviceSpaces extends StructView {
  readonly lock: Spinlock;
  readonly live: List;
}

const DeviceSpaces: Struct<DeviceSpaces> = struct<DeviceSpaces>("deviceSpaces", {
  lock: embed(Spinlock, "the list", "deviceSpacesLock"),
  live: embed(List, "head of the spaces; guarded by deviceSpacesLock"),
});

/** Undone with the list, if a thread dies with deviceSpacesLock. */
const IS_DEVICE_SPACE: PlainField = undoField(Mm, "isDeviceSpace");

const spacesByMachine = new WeakMap<Machine, DeviceSpaces>();

function* spacesOf(machine: Machine): Task<DeviceSpaces> {
  const known = spacesByMachine.get(machine);
  if (known !== undefined) return known;
  const spaces = yield* machine.heap.singleton(DeviceSpaces, (view) => {
    view.lock.init();
    view.live.init();
  });
  // An explorer takes the machine back to where there was none.
  if (machine.memory.mode === REAL) spacesByMachine.set(machine, spaces);
  return spaces;
}

/** J1. Holding the mmap lock, and a user of the mm. False: no memory for the list. */
export function* joinDeviceSpaces(machine: Machine, mm: Mm): Task<boolean> {
  const { memory } = machine;
  const spaces = yield* madeSpaces(machine);
  if (spaces === undefined) return false;
  yield* spaces.lock.lock();
  if (mm.isDeviceSpace === 0) {
    memory.undoLock = spaces.lock.at;
    spaces.live.addTail(mm.deviceNode, spaces.lock.at);
    IS_DEVICE_SPACE.store(memory, mm.at, 1);
  }
  yield* spaces.lock.unlock();
  return true;
}

function* madeSpaces(machine: Machine): Task<DeviceSpaces | undefined> {
  try {
    return yield* spacesOf(machine);
  } catch (error) {
    if (error instanceof HmmError && error.code === "ENOMEM") return undefined;
    throw error;
  }
}

/** Exit, which is alone, after the entries were cleared. */
export function* leaveDeviceSpaces(machine: Machine, mm: Mm): Task<void> {
  if (mm.isDeviceSpace === 0) return;
  const { memory } = machine;
  const spaces = yield* spacesOf(machine);
  yield* spaces.lock.lock();
  memory.undoLock = spaces.lock.at;
  mm.deviceNode.del(spaces.lock.at);
  IS_DEVICE_SPACE.store(memory, mm.at, 0);
  yield* spaces.lock.unlock();
}

/** A space with a user, which is a resource of this thread at `slot`; -1: the list is full. */
export interface HeldSpace {
  readonly mm: Mm;
  readonly slot: number;
}

/** Adds the listed spaces to `held`, each with a user (J2), which the caller drops. */
export function* getDeviceSpaces(machine: Machine, held: HeldSpace[]): Task<void> {
  const { heap, memory } = machine;
  const at = atomicLoad(memory.words, yield* heap.root(DeviceSpaces.name));
  if (at === 0) return; // no device has ever had a page
  const spaces = DeviceSpaces.at(memory, at);
  yield* spaces.lock.lock();
  for (const node of spaces.live.nodes()) {
    const mm = Mm.at(memory, Mm.containerOf(node, "deviceNode"));
    const slot = reserveResource(memory, mm.at);
    if (yield* mm.users.getNotZero(kindWord(memory, slot), MM_USER)) held.push({ mm, slot });
  }
  yield* spaces.lock.unlock();
}
