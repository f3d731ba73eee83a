/**
 * @module devices/service/listed-devices
 * The devices of one kind on a machine. A Worker that is to become a thread of one receives its
 * place in the heap by a message. The owner alone holds a reference then, and may be dead when the
 * message arrives: so the Worker checks here whether the device still exists.
 *
 *   L1  A device is listed from before anybody else knows of it until directly before its memory is
 *       freed; under devicesLock a listed device is allocated memory.
 *   L2  Its references may be 0 already: who finds it takes one only if they are not.
 *
 * Lock: devicesLock, holding nothing else. Who dies with it has changed nothing.
 */

import {
  atomicAdd,
  atomicLoad,
  embed,
  ENOMEM,
  HmmError,
  List,
  type RefCount,
  Spinlock,
  struct,
  type Errno,
  type Machine,
  type Struct,
  type StructView,
  type Task,
} from "../../driver-interface.ts";

interface DeviceList extends StructView {
  readonly lock: Spinlock;
  readonly live: List;
}

/** What a device must have to be listed. */
interface ListedDevice extends StructView {
  readonly node: List;
  readonly refs: RefCount;
  serial: number;
}

/** The records of one kind of devices, and the list of a machine's. */
export interface DeviceKind<R extends ListedDevice> {
  readonly records: Struct<R>;
  /** Offset of `node` in a record. */
  readonly nodeAt: number;
  readonly list: Struct<DeviceList>;
}

/** `name`: of the list, which no other has. */
export function deviceKind<R extends ListedDevice>(
  name: string,
  records: Struct<R>,
  nodeAt: number,
): DeviceKind<R> {
  const list = struct<DeviceList>(name, {
    lock: embed(Spinlock, "the list", "devicesLock"),
    live: embed(List, "head of the machine's devices of this kind; guarded by devicesLock"),
  });
  return { records, nodeAt, list };
}

/** Names a device to other threads. It may be gone when they receive this. */
export interface DevicePlace {
  /** Pointer of its record, as long as there is that device. */
  readonly recordAt: number;
  /** Number of the device on its machine, which no other device gets. */
  readonly serial: number;
}

/** A new device's number on its machine. */
export function* newSerial({ heap, memory }: Machine): Task<number> {
  return atomicAdd(memory.words, yield* heap.root("deviceSerial"), 1) + 1;
}

/** Lists a new device (L1). ENOMEM. */
export function* enlist<R extends ListedDevice>(
  { heap }: Machine,
  kind: DeviceKind<R>,
  record: R,
): Task<Errno> {
  let list: DeviceList;
  try {
    list = yield* heap.singleton(kind.list, (view) => {
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

function* listOf(
  { heap, memory }: Machine,
  list: Struct<DeviceList>,
): Task<DeviceList | undefined> {
  const at = atomicLoad(memory.words, yield* heap.root(list.name));
  return at === 0 ? undefined : list.at(memory, at);
}

/** The device is about to be freed. Does nothing for one that was never listed. */
export function* delist<R extends ListedDevice>(
  machine: Machine,
  kind: DeviceKind<R>,
  record: R,
): Task<void> {
  const list = yield* listOf(machine, kind.list);
  if (list === undefined) return;
  yield* list.lock.lock();
  if (record.node.isListed()) record.node.del(list.lock.at);
  yield* list.lock.unlock();
}

/**
 * The device, with a reference for the caller; undefined when it is gone (L2). In the step that
 * gets the reference the word `note` of the heap becomes `noted`, if there is such a word.
 */
export function* findListed<R extends ListedDevice>(
  machine: Machine,
  kind: DeviceKind<R>,
  place: DevicePlace,
  note: number,
  noted: number,
): Task<R | undefined> {
  const { recordAt, serial } = place;
  const list = yield* listOf(machine, kind.list);
  if (list === undefined) return undefined;
  let found: R | undefined;
  yield* list.lock.lock();
  for (const node of list.live.nodes()) {
    if (node !== recordAt + kind.nodeAt) continue;
    const record = kind.records.at(machine.memory, recordAt);
    if (record.serial === serial && (yield* record.refs.getNotZero(note, noted))) found = record;
  }
  yield* list.lock.unlock();
  return found;
}
