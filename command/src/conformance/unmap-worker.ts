/** @module A CPU thread that unmaps beside a device that reads. Entry file of a Worker. */

import { AddressSpace } from "../../../src/index.ts";
import type { AddressSpaceHandle } from "../../../src/index.ts";
import { answerCall } from "../worker-call.ts";

export interface UnmapInput {
  readonly handle: AddressSpaceHandle;
}

/** What to unmap, after a pause: so it comes at different moments of the read. Then "unmapped". */
export interface UnmapOrder {
  readonly pauseMs: number;
  readonly address: number;
  readonly lengthBytes: number;
}

await answerCall(async (input: UnmapInput, call): Promise<void> => {
  await using space = await AddressSpace.attach(input.handle);
  call.report("ready");
  for (;;) {
    const order = (await call.nextMessage()) as UnmapOrder | undefined;
    if (order === undefined) return;
    const startMs = performance.now();
    while (performance.now() - startMs < order.pauseMs);
    space.munmapSync(order.address, order.lengthBytes);
    call.report("unmapped");
  }
});
