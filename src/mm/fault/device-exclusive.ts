/**
 * @module mm/fault/device-exclusive
 * A touch of a page that a device has for itself (migrate/exclusive.ts): the device loses it.
 * Follows Linux `remove_device_exclusive_entry`.
 */

import { EVENT_CLEAR, invalidateRange } from "../../notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../notifier/mmu-notifier.ts";
import type { Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { endExclusive } from "../pte.ts";
import { type VmFault, replacePte } from "./vm-fault.ts";

/**
 * Of a device-exclusive entry. The device's driver is notified, and has ended the access, before
 * the entry lets the CPU in. The frame stays, and the entry keeps its count of it.
 */
export function* deviceExclusiveFault(fault: VmFault): Task<Errno> {
  const { machine, mm, page, pte } = fault;
  const range = invalidateRange(mm, page, page + 1, EVENT_CLEAR);
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  replacePte(fault, endExclusive(pte));
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  return 0;
}
