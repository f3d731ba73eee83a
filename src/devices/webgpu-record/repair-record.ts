/**
 * @module devices/webgpu-record/repair-record
 * A thread has died holding the driver lock of a WebGPU device, or gpuLock. What the device has are
 * copies, which it can have again. So it is told that every page has changed:
 *
 *     thread that changes a mapping      recoverer                   the device's Worker
 *     driver lock
 *     log: half a note
 *     [dead]
 *                                        log = one note: all pages
 *                                        driver lock released
 *                                                                    driver lock
 *                                                                    all pages are struck
 *                                        the invalidation goes on
 *                                        (notifier/notice.ts)
 *
 * To empty the log would lose what others have noted there and the Worker has not seen yet. The
 * list of what is wanted home is whole after each store (`want`), and so is `isDead`. The filter
 * and the bytes of RAM are changed by the Worker alone; if that is who died, nobody brings pages
 * any more, and what only the GPU had is lost (Q5 of private-memory.ts). Of a commit that it was
 * in, a part is in RAM.
 *
 * gpuLock is taken by tasks of the Worker only, and goes with it.
 *
 * In place of the dead thread, which has the lock (P1 to P3 of sync/death/repair.ts).
 */

import { DONE, registerRepairer } from "../../driver-interface.ts";
import { DRIVER_LOCK, GPU_LOCK, WebGpuRecord, noteAll } from "./record.ts";

registerRepairer(DRIVER_LOCK, function* (memory, lock) {
  noteAll(WebGpuRecord.at(memory, WebGpuRecord.containerOf(lock, "driverLock")));
});

registerRepairer(GPU_LOCK, () => DONE);
