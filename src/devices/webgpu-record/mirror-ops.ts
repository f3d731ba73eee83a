/**
 * @module devices/webgpu-record/mirror-ops
 * The WebGPU device's call-backs at hmm. Importing this module is what makes a thread fit to change
 * mappings that such a device mirrors. It takes nothing of WebGPU along.
 */

import { EAGAIN, type HmmMirror, registerMirrorOps } from "../../driver-interface.ts";
import { orphanRecord } from "./record-life.ts";
import { WebGpuRecord, isHeldHere, logRange, noteAll } from "./record.ts";
import "./repair-record.ts";

export function recordOf({ machine, at }: HmmMirror): WebGpuRecord {
  return WebGpuRecord.at(machine.memory, WebGpuRecord.containerOf(at, "mirror"));
}

/** Id of this code at hmm. */
export const WEBGPU_DEVICE_OPS: number = registerMirrorOps("WebGPU device of hmm-ts/webgpu", {
  *invalidate(mirror, { startPage, endPage, blockable }) {
    const record = recordOf(mirror);
    const { driverLock } = record;
    // This thread holds the lock, in a task that waits for the GPU, whose answer this thread would
    // hear when this here has returned (own-link.ts): what the lock guards is at rest meanwhile.
    if (isHeldHere(record)) {
      logRange(record, startPage, endPage);
      return 0;
    }
    if (blockable) yield* driverLock.lock();
    else if (!(yield* driverLock.tryLock())) return EAGAIN;
    logRange(record, startPage, endPage);
    yield* driverLock.unlock();
    return 0;
  },
  *release(mirror) {
    const record = recordOf(mirror);
    const isOurs = isHeldHere(record);
    if (!isOurs) yield* record.driverLock.lock();
    record.isDead = 1;
    noteAll(record); // N4 of record.ts
    if (!isOurs) yield* record.driverLock.unlock();
  },
  orphaned: (mirror, slot) => orphanRecord(mirror.machine, recordOf(mirror), slot),
  inherits: true,
});
