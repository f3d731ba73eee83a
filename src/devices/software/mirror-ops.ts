/**
 * @module devices/software/mirror-ops
 * The software device's call-backs at hmm. Importing this module is what makes a thread fit to
 * change mappings that a software device mirrors.
 */

import { registerMirrorOps } from "../../driver-interface.ts";
import { type ViewDevice, deviceMirrorOps, deviceOf } from "../service/mirror-ops.ts";
import { registerDeviceRepairer } from "../service/repair-device.ts";
import { orphanDevice } from "./device-state.ts";
import { softwareRecordOf } from "./software-record.ts";
import { viewDevice } from "./view-device.ts";

const view: ViewDevice = (machine, device) => viewDevice(machine, softwareRecordOf(device));

/**
 * Id of this code at hmm. When the owner's thread has died, device threads that are not gone yet
 * keep the device's memory; whatever they fault on from now on fails.
 */
export const SOFTWARE_DEVICE_OPS: number = registerMirrorOps(
  "hmm-ts software device",
  deviceMirrorOps(
    view,
    (mirror, slot) => orphanDevice(mirror.machine, softwareRecordOf(deviceOf(mirror)), slot),
    true,
  ),
);

registerDeviceRepairer(view);
