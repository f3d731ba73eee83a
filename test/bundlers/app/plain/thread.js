import { AddressSpace } from "./node_modules/hmm-ts/dist/one-file/hmm-ts.js";

addEventListener("message", ({ data }) => {
  const space = AddressSpace.attachSync(data.handle);
  for (let i = 0; i < 1000; i++) space.u32.atomicAdd(data.address, 1);
  space.disposeSync();
  postMessage("done");
});
