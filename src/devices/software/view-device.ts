/** @module devices/software/view-device: a thread's views of a software device. */

import type { Machine } from "../../driver-interface.ts";
import { type ServedDevice, viewServedDevice } from "../service/device.ts";
import { RamCopyEngine, SoftwareTlbs } from "./copy-engine.ts";
import type { SoftwareRecord } from "./software-record.ts";

/** This thread's views of a device's parts, with its hardware. */
export function viewDevice(machine: Machine, record: SoftwareRecord): ServedDevice {
  const { device, shootdown } = record;
  const engine = new RamCopyEngine(machine, device.firstPfn);
  return viewServedDevice(machine, device, engine, new SoftwareTlbs(shootdown));
}
