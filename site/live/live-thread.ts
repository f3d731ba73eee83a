/** @module A Worker that is a CPU thread of the live page's address space; see remote-thread.ts. */

import { AddressSpace } from "hmm-ts";
import { PAGE } from "./layout.ts";
import "./watcher.ts"; // its call-backs run here, too
import type { ThreadAnswer, ThreadRequest } from "./remote-thread.ts";

let space: AddressSpace | undefined;

async function perform(request: ThreadRequest): Promise<void> {
  if (request.kind === "attach") space = await AddressSpace.attach(request.handle);
  else if (space === undefined) throw new Error("This thread has no address space");
  else if (request.kind === "end") await space.dispose();
  else {
    const { address, pages } = request;
    for (let page = 0; page < pages; page++) space.u32.store(address + page * PAGE, 2);
  }
}

addEventListener("message", ({ data }: MessageEvent<ThreadRequest>) => {
  const answer = (failure?: string): void => {
    const message: ThreadAnswer = { failure };
    postMessage(message);
  };
  perform(data).then(
    () => answer(),
    (error: unknown) => answer(error instanceof Error ? error.message : String(error)),
  );
});
