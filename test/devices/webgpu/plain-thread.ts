/** @module A thread that knows `hmm-ts` alone: it stores to the words that it is sent. */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace } from "../../../src/index.ts";

const space = await AddressSpace.attach(workerData);
parentPort?.on("message", (word: number) => {
  space.u32.store(word, space.u32.load(word) + 1);
  parentPort?.postMessage("stored");
});
parentPort?.postMessage("attached");
