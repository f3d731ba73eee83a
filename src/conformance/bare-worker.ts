/**
 * @module conformance/bare-worker
 * A thread that has not loaded the driver: it tries to attach, and says what it is answered.
 */

import { enterWorker } from "../host/worker-scope.ts";
import { AddressSpace } from "../space/address-space.ts";
import type { AddressSpaceHandle } from "../space/handle.ts";

const scope = enterWorker();
try {
  const space = await AddressSpace.attach((await scope.start) as AddressSpaceHandle);
  await space.dispose();
  scope.post("it has been attached");
} catch (error) {
  const code = error instanceof Error && "code" in error ? String(error.code) : "no code";
  scope.post(`${code}: ${String(error)}`);
}
