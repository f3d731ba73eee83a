/**
 * @module devices/software/software-record
 * The software device as it lies in the kernel heap: what the service keeps of any device, and what
 * is the software device's own: the generations by which its threads' software TLBs are flushed,
 * and how far its dispatch has come (dispatch-state.ts).
 */

import {
  embed,
  embedStruct,
  Shootdown,
  struct,
  u32,
  type Struct,
  type StructView,
} from "../../driver-interface.ts";
import { DeviceRecord } from "../service/device-record.ts";

export interface SoftwareRecord extends StructView {
  readonly device: DeviceRecord;
  readonly shootdown: Shootdown;
  nextItem: number;
  stop: number;
}

export const SoftwareRecord: Struct<SoftwareRecord> = struct<SoftwareRecord>("softwareDevice", {
  device: embedStruct(DeviceRecord, "its own table", "what the service keeps of it"),
  shootdown: embed(Shootdown, "generations of the device threads' cached translations"),
  nextItem: u32("atomic", "first work item that no thread has taken yet"),
  stop: u32("atomic", "1: the running dispatch is to end"),
});

/** The software device that the service keeps as `device`. */
export function softwareRecordOf(device: DeviceRecord): SoftwareRecord {
  return SoftwareRecord.at(device.memory, SoftwareRecord.containerOf(device.at, "device"));
}
