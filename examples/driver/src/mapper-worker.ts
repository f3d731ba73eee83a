/**
 * A CPU thread beside the card: it gives pages up and stores into them anew, round by round. Of the
 * driver it has the module with the call-backs and nothing else. Without that it is refused.
 */

import { AddressSpace, type AddressSpaceHandle } from "hmm-ts";
import { PAGE_BYTES, enterWorker } from "hmm-ts/driver";
import "./card.js";
import { tagOf } from "./tags.js";

export interface MapperStart {
  readonly handle: AddressSpaceHandle;
  readonly address: number;
  readonly pages: number;
  readonly rounds: number;
  /** One word: the last round that is over. */
  readonly progress: SharedArrayBuffer;
}

const scope = enterWorker();
const { handle, address, pages, rounds, progress } = (await scope.start) as MapperStart;
using space = AddressSpace.attachSync(handle);
const word = new Int32Array(progress);
for (let round = 1; round <= rounds; round++) {
  for (let i = 0; i < pages; i++) {
    const page = address + i * PAGE_BYTES;
    if (round % 2 === 0) space.madviseSync(page, PAGE_BYTES, "dontneed");
    else {
      space.munmapSync(page, PAGE_BYTES);
      space.mmapSync(PAGE_BYTES, { address: page, fixed: "noreplace" });
    }
    space.u32.store(page, tagOf(i, round));
  }
  Atomics.store(word, 0, round);
}
scope.post("done");
