/**
 * @module devices/webgpu-record/record-life
 * The birth and the end of a WebGPU device's record (record.ts), and who keeps it: the mirror's
 * registration holds one reference, the device's Worker one. Whoever drops the last one frees
 * everything, be it the owner, the Worker, or a reaper for one that died.
 *
 *   E1  From its first word on a record is a resource of the thread that makes it; then its mirror
 *       is, in the same place (hmm/mirror/mirror.ts); then the record again, until its last word is
 *       free. So is the reference of its Worker. The record names its chunks, and each chunk its
 *       parts, from the step on that gets it, to the step that frees it. So whoever finds a thread
 *       dead goes on where it ended.
 *   E2  A Worker that begins finds the record by its place and number (service/listed-devices.ts):
 *       the owner may have died since it sent them, and the record be freed.
 */

import {
  changeResource,
  EMFILE,
  ENODEV,
  ENOMEM,
  findResource,
  HmmMirror,
  hmmMirrorAbandon,
  hmmMirrorForget,
  hmmMirrorRegister,
  hmmMirrorUnregister,
  kindWord,
  Machine,
  registerHeir,
  removeResource,
  reserveResource,
  resourceKind,
  type Errno,
  type Mm,
  type Task,
} from "../../driver-interface.ts";
import {
  type DevicePlace,
  delist,
  deviceKind,
  enlist,
  findListed,
  newSerial,
} from "../service/listed-devices.ts";
import { endPrivateMemory, loseDirty, makePrivateMemory } from "./private-memory.ts";
import { WebGpuRecord, initRecord } from "./record.ts";

const LISTED = deviceKind("webgpuDeviceList", WebGpuRecord, WebGpuRecord.offset.node);

/** A record that this thread makes, or whose mirror it has unregistered (E1). */
const RECORD_RESOURCE: number = resourceKind("WebGPU device");
/** A record without a reference, whose end this thread has begun. */
const ENDING: number = resourceKind("WebGPU device that ends");
/** The reference of a mirror whose thread has died. */
const REFERENCE: number = resourceKind("reference of a WebGPU device");
/** A device whose Worker this thread is. */
const WORKER_RESOURCE: number = resourceKind("WebGPU device's Worker");

/**
 * A new record with one reference, not registered; a resource of this thread, which `endRecord`
 * ends. ENOMEM, EMFILE.
 */
export function* createRecord(machine: Machine, privatePages: number): Task<WebGpuRecord | Errno> {
  const at = yield* machine.heap.alloc(WebGpuRecord, RECORD_RESOURCE);
  if (at === 0) return ENOMEM;
  const record = WebGpuRecord.at(machine.memory, at);
  const slot = placeOf(machine, at);
  if (slot < 0) {
    yield* freeRecord(machine, record, slot);
    return EMFILE;
  }
  record.serial = yield* newSerial(machine);
  initRecord(record);
  const isMade =
    (yield* enlist(machine, LISTED, record)) === 0 &&
    (yield* makePrivateMemory(machine, record, privatePages));
  if (isMade) return record;
  yield* freeRecord(machine, record, slot);
  return ENOMEM;
}

function placeOf({ memory }: Machine, at: number): number {
  return findResource(memory, RECORD_RESOURCE, at);
}

/** A new record, whose mirror is on `mm`, of which the caller has a user. ENOMEM, EMFILE, ESRCH. */
export function* makeRecord(
  machine: Machine,
  mm: Mm,
  privatePages: number,
  opsId: number,
): Task<WebGpuRecord | Errno> {
  const record = yield* createRecord(machine, privatePages);
  if (typeof record === "number") return record;
  const errno = yield* registerRecord(machine, record, mm, opsId);
  if (errno === 0) return record;
  yield* endRecord(machine, record);
  return errno;
}

/** Puts its mirror on `mm`, of which the caller has a user. Errno as of hmmMirrorRegister. */
export function* registerRecord(
  machine: Machine,
  record: WebGpuRecord,
  mm: Mm,
  opsId: number,
): Task<Errno> {
  const mirror = new HmmMirror(machine, record.mirror.at);
  mirror.init(opsId);
  yield* mm.mmapLock.downWrite();
  const errno = yield* hmmMirrorRegister(mirror, mm, placeOf(machine, record.at));
  yield* mm.mmapLock.upWrite();
  return errno;
}

/** Pairs with `registerRecord`, in its thread. */
export function unregisterRecord(machine: Machine, record: WebGpuRecord): Task<void> {
  const mirror = new HmmMirror(machine, record.mirror.at);
  return hmmMirrorUnregister(mirror, RECORD_RESOURCE, record.at);
}

/** Pairs with `createRecord`, in its thread. The mirror is not registered. */
export function endRecord(machine: Machine, record: WebGpuRecord): Task<void> {
  return putRecord(machine, record, placeOf(machine, record.at));
}

/**
 * Drops a reference. The last one frees the record; its mirror is unregistered by then. `slot`: of
 * the reference among this thread's resources, or -1.
 */
export function* putRecord(machine: Machine, record: WebGpuRecord, slot: number = -1): Task<void> {
  const { memory } = machine;
  const own = slot < 0 ? reserveResource(memory, record.at) : slot;
  if (yield* record.refs.put(kindWord(memory, own), ENDING))
    yield* freeRecord(machine, record, own);
}

/**
 * A record whose private memory has pages that nobody can have stays, to say so. May be done again
 * from its beginning (E1). `slot`: of the record among the resources, or -1.
 */
function* freeRecord(machine: Machine, record: WebGpuRecord, slot: number): Task<void> {
  yield* delist(machine, LISTED, record);
  const hasEnded = yield* endPrivateMemory(machine, record);
  yield* hmmMirrorForget(new HmmMirror(machine, record.mirror.at));
  if (hasEnded) yield* machine.heap.free(WebGpuRecord, record.at, slot);
  else if (slot >= 0) removeResource(machine.memory, slot);
}

/** Who made it has died, in the middle or after it has unregistered the mirror (E1). */
registerHeir(RECORD_RESOURCE, function* (memory, at, slot) {
  const machine = Machine.of(memory);
  const record = WebGpuRecord.at(memory, at);
  yield* hmmMirrorAbandon(new HmmMirror(machine, record.mirror.at));
  if (record.refs.read() > 0) yield* putRecord(machine, record, slot);
  else yield* freeRecord(machine, record, slot);
});

registerHeir(ENDING, (memory, at, slot) =>
  freeRecord(Machine.of(memory), WebGpuRecord.at(memory, at), slot),
);

registerHeir(REFERENCE, (memory, at, slot) =>
  putRecord(Machine.of(memory), WebGpuRecord.at(memory, at), slot),
);

/** The thread that had the mirror has died. `slot`: of that among this thread's resources. */
export function orphanRecord(machine: Machine, record: WebGpuRecord, slot: number): Task<void> {
  changeResource(machine.memory, slot, REFERENCE, record.at);
  return putRecord(machine, record, slot);
}

/** Names a record to the thread that is to become its Worker (E2). */
export function placeOfRecord({ at, serial }: WebGpuRecord): DevicePlace {
  return { recordAt: at, serial };
}

/** A record, and where the list of what this thread owns says that it is the Worker. */
export interface JoinedRecord {
  readonly record: WebGpuRecord;
  /** For `putRecord`. */
  readonly slot: number;
}

/** This thread becomes the device's Worker. ENODEV when it is gone, EMFILE. */
export function* joinRecord(machine: Machine, place: DevicePlace): Task<JoinedRecord | Errno> {
  const { memory } = machine;
  const slot = reserveResource(memory, place.recordAt);
  if (slot < 0) return EMFILE;
  const record = yield* findListed(machine, LISTED, place, kindWord(memory, slot), WORKER_RESOURCE);
  return record === undefined ? ENODEV : { record, slot };
}

registerHeir(WORKER_RESOURCE, function* (memory, at, slot) {
  const record = WebGpuRecord.at(memory, at);
  yield* loseDirty(record); // Q5 of private-memory.ts
  yield* putRecord(Machine.of(memory), record, slot);
});
