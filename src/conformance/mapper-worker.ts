/**
 * @module conformance/mapper-worker
 * A CPU thread beside a device: it gives pages up, maps them anew, and stores tagged values into
 * them. Of the driver it has the module with its call-backs.
 */

import { PAGE_BYTES, enterWorker } from "../driver-interface.ts";
import { AddressSpace } from "../space/address-space.ts";
import type { AddressSpaceHandle } from "../space/handle.ts";
import { importDriver } from "./driver-under-test.ts";

/** What the Worker is started with. */
export interface MapperStart {
  readonly module: string;
  readonly exportName: string;
  readonly handle: AddressSpaceHandle;
  readonly address: number;
  readonly pages: number;
  readonly rounds: number;
  /** One word: the last round that is over. */
  readonly progress: SharedArrayBuffer;
}

/** In round 1, 2, and so on. Page `i` gets (i + 1) * 2^20 + round. */
function storm(space: AddressSpace, { address, pages, rounds, progress }: MapperStart): void {
  const word = new Int32Array(progress);
  for (let round = 1; round <= rounds; round++) {
    for (let i = 0; i < pages; i++) {
      const page = address + i * PAGE_BYTES;
      if (round % 3 === 0) space.madviseSync(page, PAGE_BYTES, "dontneed");
      else if (round % 3 === 1) {
        space.munmapSync(page, PAGE_BYTES);
        space.mmapSync(PAGE_BYTES, { address: page, fixed: "noreplace" });
      }
      space.u32.store(page, ((i + 1) << 20) | round);
    }
    word[0] = round; // after what the round has done: each call above is ordered before it
  }
}

const scope = enterWorker();
try {
  const start = (await scope.start) as MapperStart;
  await importDriver(start.module, start.exportName);
  const space = await AddressSpace.attach(start.handle);
  storm(space, start);
  await space.dispose();
  scope.post("done");
} catch (error) {
  scope.post(String(error));
}
