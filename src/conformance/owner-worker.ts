/**
 * @module conformance/owner-worker
 * A thread that owns a device, uses it, and is ended where it is.
 */

import { DriverThread, enterWorker } from "../driver-interface.ts";
import { AddressSpace } from "../space/address-space.ts";
import type { AddressSpaceHandle } from "../space/handle.ts";
import { importDriver } from "./driver-under-test.ts";

/** What the Worker is started with. */
export interface OwnerStart {
  readonly module: string;
  readonly exportName: string;
  readonly handle: AddressSpaceHandle;
  readonly address: number;
}

const scope = enterWorker();
// A message may come, so the Worker stays.
scope.onMessage(() => {});
try {
  const { module, exportName, handle, address } = (await scope.start) as OwnerStart;
  const subject = await importDriver(module, exportName);
  const space = await AddressSpace.attach(handle);
  const driver = DriverThread.open(space);
  const mirror = await driver.runOnSpace(space, (mm) => subject.open(driver.machine, mm));
  if (typeof mirror === "number") throw new Error(`the driver opens no device: ${mirror}`);
  if (subject.serve !== undefined) void driver.run(subject.serve(mirror));
  const bytes = new Uint8Array(4);
  const errno = await driver.run(subject.read(mirror, address, bytes));
  scope.post(errno === 0 ? new DataView(bytes.buffer).getUint32(0, true) : `errno ${errno}`);
} catch (error) {
  scope.post(String(error));
}
