/** @module The smoke page's worker: it does what the one message that it gets tells it. */

import { armedWaiters, type SmokeCommand } from "./smoke-command.ts";

self?.addEventListener("message", ({ data }) => {
  const { buffer, work } = data as SmokeCommand;
  const words = new Int32Array(buffer);
  if (work === "add") {
    Atomics.add(words, 0, 1);
    Atomics.notify(words, 0);
    return;
  }
  for (let i = 0; i < armedWaiters; i++) Atomics.waitAsync(words, 2, 0);
  self?.postMessage("armed");
  if (work === "arm and sleep") Atomics.wait(words, 1, 0);
});
