/**
 * @module devices/service/device
 * A device as one thread's service uses it: the driver's hardware, and this thread's views of the
 * parts that the device has in the kernel heap.
 */

import {
  ENOMEM,
  ENOSPC,
  HmmMirror,
  plainLoad,
  type Errno,
  type Machine,
  type Task,
} from "../../driver-interface.ts";
import { ADVICE_WORDS, AdviceTable, type PlacementAdvice } from "../policy/placement.ts";
import { ThrashTable } from "../policy/thrash.ts";
import type { CopyEngine, TranslationUnit } from "./device-hardware.ts";
import { DeviceRecord } from "./device-record.ts";
import { DeviceTable } from "./device-table.ts";
import { count } from "./device-stats.ts";

const THRASH_EXPIRY: number = DeviceRecord.offset.thrashExpiryMs;

/** A device as one thread's service uses it: this thread's views of its parts, and its hardware. */
export interface ServedDevice {
  /** The machine that the device belongs to. */
  readonly machine: Machine;
  /** Its mirror of the address space. */
  readonly mirror: HmmMirror;
  /** Its record in the kernel heap. */
  readonly record: DeviceRecord;
  /** Its page table. */
  readonly table: DeviceTable;
  /** Which blocks of pages are left in RAM. */
  readonly thrash: ThrashTable;
  /** The hardware that copies pages. */
  readonly engine: CopyEngine;
}

/** This thread's views of a device. */
export function viewServedDevice(
  machine: Machine,
  record: DeviceRecord,
  engine: CopyEngine,
  unit: TranslationUnit,
): ServedDevice {
  return {
    machine,
    mirror: new HmmMirror(machine, record.mirror.at),
    record,
    table: new DeviceTable(machine, record, unit),
    thrash: new ThrashTable(machine.memory, record.thrash, record.at + THRASH_EXPIRY),
    engine,
  };
}

/**
 * The device has lost its copy of the page to a store of the CPU, or could not make one because of
 * it. Holding the driver lock.
 */
export function noteLoss({ record, thrash }: ServedDevice, page: number, nowMs: number): void {
  if (thrash.noteLoss(page, nowMs)) count(record, "thrashing");
}

const ADVICE: number = DeviceRecord.offset.advice;

/** What was advised, if ever something was: the table stays then. It is read under the lock. */
export function adviceTable({ machine, record }: ServedDevice): AdviceTable | undefined {
  const at = plainLoad(machine.memory.words, record.at + ADVICE);
  return at === 0 ? undefined : new AdviceTable(machine.memory, at);
}

/**
 * Advises about [startPage, endPage): 0; ENOMEM; ENOSPC, if that needs more ranges than there may
 * be. Entries in RAM go, so that the next access is served as was advised. Holding no lock.
 */
export function* takeAdvice(
  device: ServedDevice,
  startPage: number,
  endPage: number,
  advice: PlacementAdvice,
): Task<Errno> {
  const { machine, record, table } = device;
  const { driverLock } = table;
  yield* driverLock.lock();
  if (record.advice === 0) yield* machine.heap.allocWords(ADVICE_WORDS, record.at + ADVICE);
  const known = adviceTable(device);
  let result: Errno = known === undefined ? ENOMEM : ENOSPC;
  if (known?.set(startPage, endPage, advice)) {
    yield* table.dropRange(startPage, endPage);
    result = 0;
  }
  yield* driverLock.unlock();
  return result;
}
