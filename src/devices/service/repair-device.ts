/**
 * @module devices/service/repair-device
 * A thread has died holding a device's driver lock: what that guards may be in any state. All of it
 * can be had again by faults, so the device forgets it, as if every page had been invalidated:
 *
 *     thread that dies                        recoverer
 *     driver lock
 *     entry cleared
 *     [dead: its frame is on no list]
 *                                             clears all entries, flushes
 *                                             each frame is free, unless it is loading
 *                                             driver lock released
 *
 * Frames that are loading are the service owner's. If that is the dead thread, who takes its place
 * frees them (service-owner.ts). Tables that were linked stay. What was advised stays, unless it
 * was being changed (policy/placement.ts).
 *
 * In place of the dead thread, which has the driver lock (P1 to P3 of sync/death/repair.ts).
 */

import {
  Machine,
  registerRepairer,
  TASK_SIZE_PAGES,
  type SharedMemory,
  type Task,
} from "../../driver-interface.ts";
import type { ServedDevice } from "./device.ts";
import { DEVICE_LOCK, DeviceRecord } from "./device-record.ts";
import { count } from "./device-stats.ts";
import type { ViewDevice } from "./mirror-ops.ts";

/** Devices are repaired by this thread from now on; `view` makes views of them. */
export function registerDeviceRepairer(view: ViewDevice): void {
  registerRepairer(DEVICE_LOCK, (memory, lock) => repairDevice(deviceAt(memory, lock, view)));
}

function deviceAt(memory: SharedMemory, lock: number, view: ViewDevice): ServedDevice {
  const at = DeviceRecord.containerOf(lock, "driverLock");
  return view(Machine.of(memory), DeviceRecord.at(memory, at));
}

function* repairDevice({ record, table, thrash }: ServedDevice): Task<void> {
  const dropped = yield* table.forget();
  yield* table.unit.flush(0, TASK_SIZE_PAGES);
  table.frames.forget();
  thrash.forget();
  count(record, "dropped", dropped);
}
