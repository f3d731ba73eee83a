/**
 * @module devices/service/device-list
 * The devices of a machine. A Worker that is to become a thread of one receives its place in the
 * heap by a message. The owner alone holds a reference then, and may be dead when the message
 * arrives: so the Worker checks here whether the device still exists.
 *
 *   L1  A device is listed from before anybody else knows of it until directly before its memory is
 *       freed; under devicesLock a listed device is allocated memory.
 *   L2  Its references may be 0 already: who finds it takes one only if they are not.
 *
 * Lock: devicesLock, holding nothing else. Who dies with it has changed nothing.
 */

import {
  atomicLoad,
  embed,
  ENOMEM,
  HmmError,
  List,
  Spinlock,
  struct,
  type Errno,
  type Machine,
  type Struct,
  type StructView,
  type Task,
} from "../../driver-interface.ts";
import { DeviceRecord } from "./device-record.ts";

interface DeviceList extends StructView {
  readonly lock: Spinlock;
  readonly live: List;
}

const DeviceList: Struct<DeviceList> = struct<DeviceList>("deviceList", {
  lock: embed(Spinlock, "the list", "devicesLock"),
  live: embed(List, "head of the machine's devices; guarded by devicesLock"),
});

/** Names a device to other threads. It may be gone when they receive this. */
export interface DevicePlace {
  /** Pointer of its record, as long as there is that device. */
  readonly recordAt: number;
  /** Number of the device on its machine, which no other device gets. */
  readonly serial: number;
}

/** Lists a new device (L1). ENOMEM. */
export function* enlistDevice({ heap }: Machine, record: DeviceRecord): Task<Errno> {
  let list: DeviceList;
  try {
    list = yield* heap.singleton(DeviceList, (view) => {
      view.lock.init();
      view.live.init();
    });
  } catch (error) {
    if (error instanceof HmmError && error.code === "ENOMEM") return ENOMEM;
    throw error;
  }
  yield* list.lock.lock();
  list.live.addTail(record.node, list.lock.at);
  yield* list.lock.unlock();
  return 0;
}

function* listOf({ heap, memory }: Machine): Task<DeviceList | undefined> {
  const at = atomicLoad(memory.words, yield* heap.root(DeviceList.name));
  return at === 0 ? undefined : DeviceList.at(memory, at);
}

/** The device is about to be freed. Does nothing for one that was never listed. */
export function* delistDevice(machine: Machine, record: DeviceRecord): Task<void> {
  const list = yield* listOf(machine);
  if (list === undefined) return;
  yield* list.lock.lock();
  if (record.node.isListed()) record.node.del(list.lock.at);
  yield* list.lock.unlock();
}

/**
 * The device, with a reference for the caller; undefined when it is gone (L2). In the step that
 * gets the reference the word `note` of the heap becomes `noted`, if there is such a word.
 */
export function* findDevice(
  machine: Machine,
  place: DevicePlace,
  note: number = 0,
  noted: number = 0,
): Task<DeviceRecord | undefined> {
  const { recordAt, serial } = place;
  const list = yield* listOf(machine);
  if (list === undefined) return undefined;
  let found: DeviceRecord | undefined;
  yield* list.lock.lock();
  for (const node of list.live.nodes()) {
    if (DeviceRecord.containerOf(node, "node") !== recordAt) continue;
    const record = DeviceRecord.at(machine.memory, recordAt);
    if (record.serial === serial && (yield* record.refs.getNotZero(note, noted))) found = record;
  }
  yield* list.lock.unlock();
  return found;
}
