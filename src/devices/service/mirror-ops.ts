/**
 * @module devices/service/mirror-ops
 * What a device does when a mapping changes: a driver's side of hmm/mirror/mirror-ops.ts, for any
 * device that the service serves. It runs in the thread that changes the mapping, which takes the
 * driver lock and no other, and finds all it needs in the kernel heap.
 */

import {
  EAGAIN,
  EVENT_CLEAR,
  EVENT_MIGRATE,
  EVENT_PROTECTION_PAGE,
  EVENT_UNMAP,
  sharedMs,
  TASK_SIZE_PAGES,
  type Errno,
  type HmmMirror,
  type HmmMirrorOps,
  type InvalidateRange,
  type Machine,
  type Task,
} from "../../driver-interface.ts";
import { type ServedDevice, adviceTable, noteLoss } from "./device.ts";
import { DeviceRecord } from "./device-record.ts";
import { count } from "./device-stats.ts";
import { ENTRY_LOCAL, ENTRY_OWN } from "./device-table.ts";
import { ownerOf } from "./own-memory.ts";

/**
 * A store of the CPU, or a touch of a page of the device's own, invalidates one page. What
 * invalidates more than this is neither, and says nothing about thrashing.
 */
const STORE_PAGES_MAX = 1;

/** Makes this thread's views of a device. */
export type ViewDevice = (machine: Machine, record: DeviceRecord) => ServedDevice;

/** The record of the device that the mirror belongs to. */
export function deviceOf({ machine, at }: HmmMirror): DeviceRecord {
  return DeviceRecord.at(machine.memory, DeviceRecord.containerOf(at, "mirror"));
}

/**
 * The service's call-backs for a kind of device, of which `view` makes views. `orphaned` and
 * `inherits`: what becomes of a device when the thread that had registered its mirror has died.
 */
export function deviceMirrorOps(
  view: ViewDevice,
  orphaned: Exclude<HmmMirrorOps["orphaned"], undefined>,
  inherits: boolean = false,
): HmmMirrorOps {
  const views = new DeviceViews(view);
  return {
    invalidate: (mirror, range) => invalidate(views.of(mirror), range),
    release: (mirror) => release(views.of(mirror)),
    orphaned,
    inherits,
  };
}

/**
 * Views of devices by the place of their record; a record that was freed and reused has another
 * serial.
 */
class DeviceViews {
  readonly #view: ViewDevice;
  readonly #known = new WeakMap<Machine, Map<number, readonly [serial: number, ServedDevice]>>();

  constructor(view: ViewDevice) {
    this.#view = view;
  }

  of(mirror: HmmMirror): ServedDevice {
    const { machine } = mirror;
    const record = deviceOf(mirror);
    let ofMachine = this.#known.get(machine);
    if (ofMachine === undefined) this.#known.set(machine, (ofMachine = new Map()));
    const [serial, known] = ofMachine.get(record.at) ?? [];
    if (known !== undefined && serial === record.serial) return known;
    const device = this.#view(machine, record);
    ofMachine.set(record.at, [record.serial, device]);
    return device;
  }
}

/**
 * D2 of device-record.ts. EAGAIN, and nothing done, when it may not wait for the driver lock and
 * somebody has it.
 */
function* invalidate(device: ServedDevice, range: InvalidateRange): Task<Errno> {
  const { startPage, endPage, event, blockable } = range;
  const { record, table } = device;
  const { driverLock } = table;
  if (blockable) yield* driverLock.lock();
  else if (!(yield* driverLock.tryLock())) return EAGAIN;
  count(record, "invalidations");
  const lost = endPage - startPage <= STORE_PAGES_MAX ? lostBy(record, range) : 0;
  const onLost = (page: number): void => noteLoss(device, page, sharedMs());
  yield* table.dropRange(startPage, endPage, lost, onLost);
  if (event === EVENT_UNMAP) {
    yield* table.freeLeaves(startPage, endPage);
    adviceTable(device)?.forget(startPage, endPage);
  }
  yield* driverLock.unlock();
  return 0;
}

/**
 * Which entries of one page the CPU has taken from the device, by this event: a copy, by a store; a
 * page of its own, by a touch, which moves it. Not if it leaves to make room.
 */
function lostBy(record: DeviceRecord, { event, owner }: InvalidateRange): number {
  if (event === EVENT_PROTECTION_PAGE || event === EVENT_CLEAR) return ENTRY_LOCAL;
  return event === EVENT_MIGRATE && owner === ownerOf(record) ? ENTRY_OWN : 0;
}

/** The address space dies. No range is registered any more, so nothing will be installed again. */
function* release({ table }: ServedDevice): Task<void> {
  const { driverLock } = table;
  yield* driverLock.lock();
  yield* table.dropRange(0, TASK_SIZE_PAGES);
  yield* driverLock.unlock();
}
