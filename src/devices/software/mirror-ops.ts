/**
 * @module devices/software/mirror-ops
 * What the device does when it is told to let go: the driver's side of hmm/mirror/mirror-ops.ts.
 * Runs in the thread that changes the mapping, which takes the device's own lock and nothing else,
 * and finds all it needs in the kernel heap. So importing this module is what makes a thread fit to
 * change mappings that a software device mirrors.
 */

import type { HmmMirror } from "../../hmm/mirror-record.ts";
import { registerMirrorOps } from "../../hmm/mirror/mirror-ops.ts";
import type { Machine } from "../../memory/machine.ts";
import { TASK_SIZE_PAGES } from "../../mmu/radix-table.ts";
import {
  EVENT_CLEAR,
  EVENT_PROTECTION_PAGE,
  EVENT_UNMAP,
  type InvalidateRange,
} from "../../notifier/events.ts";
import { sharedMs } from "../../sync/tasks/clock.ts";
import { EAGAIN, type Errno } from "../../sync/errno.ts";
import type { Task } from "../../sync/tasks/task.ts";
import { DeviceRecord } from "../service/device-record.ts";
import { INVALIDATIONS, count } from "../service/device-stats.ts";
import { DeviceTable } from "../service/device-table.ts";
import { forgetDead } from "./device-state.ts";
import { ThrashTable } from "../service/thrash.ts";

/**
 * A store of the CPU invalidates one page; what invalidates more than this is no store, and says
 * nothing about thrashing.
 */
const STORE_PAGES_MAX = 1;

interface View {
  readonly serial: number;
  readonly table: DeviceTable;
  readonly thrash: ThrashTable;
}

/**
 * Views of devices by the place of their record; a record that was freed and reused has another
 * serial.
 */
const views = new WeakMap<Machine, Map<number, View>>();

function viewOf({ machine, at }: HmmMirror): View {
  const recordAt = DeviceRecord.containerOf(at, "mirror");
  let ofMachine = views.get(machine);
  if (ofMachine === undefined) views.set(machine, (ofMachine = new Map()));
  const record = DeviceRecord.at(machine.memory, recordAt);
  const known = ofMachine.get(recordAt);
  if (known !== undefined && known.serial === record.serial) return known;
  const view: View = {
    serial: record.serial,
    table: new DeviceTable(machine, record),
    thrash: new ThrashTable(record),
  };
  ofMachine.set(recordAt, view);
  return view;
}

/**
 * D2 of device-record.ts. EAGAIN, and nothing done, when it may not wait for the driver lock and
 * somebody has it.
 */
function* invalidate(mirror: HmmMirror, range: InvalidateRange): Task<Errno> {
  const { startPage, endPage, event, blockable } = range;
  const { table, thrash } = viewOf(mirror);
  const { record, driverLock } = table;
  if (blockable) yield* driverLock.lock();
  else if (!(yield* driverLock.tryLock())) return EAGAIN;
  count(record, INVALIDATIONS);
  const isStore =
    endPage - startPage <= STORE_PAGES_MAX &&
    (event === EVENT_PROTECTION_PAGE || event === EVENT_CLEAR);
  yield* table.dropRange(
    startPage,
    endPage,
    isStore ? (page) => thrash.noteLoss(page, sharedMs()) : undefined,
  );
  if (event === EVENT_UNMAP) yield* table.freeLeaves(startPage, endPage);
  yield* driverLock.unlock();
  return 0;
}

/** The address space dies. No range is registered any more, so nothing will be put in again. */
function* release(mirror: HmmMirror): Task<void> {
  const { table } = viewOf(mirror);
  const { driverLock } = table;
  yield* driverLock.lock();
  yield* table.dropRange(0, TASK_SIZE_PAGES);
  yield* driverLock.unlock();
}

/**
 * The thread that had made the device has died. Device threads that are not gone yet keep its
 * memory; whatever they fault on from now on fails.
 */
function* orphaned({ machine, at }: HmmMirror): Task<void> {
  yield* forgetDead(
    machine,
    DeviceRecord.at(machine.memory, DeviceRecord.containerOf(at, "mirror")),
  );
}

/** Id of this code at hmm. */
export const SOFTWARE_DEVICE_OPS: number = registerMirrorOps("hmm-ts software device", {
  invalidate,
  release,
  orphaned,
});
