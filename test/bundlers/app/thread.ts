// A thread of the program's, on the page's address space.
import { AddressSpace, type AddressSpaceHandle } from "hmm-ts";

interface Order {
  readonly handle: AddressSpaceHandle;
  readonly address: number;
}

addEventListener("message", ({ data }: MessageEvent<Order>) => {
  const space = AddressSpace.attachSync(data.handle);
  for (let i = 0; i < 1000; i++) space.u32.atomicAdd(data.address, 1);
  space.disposeSync();
  postMessage("done");
});
