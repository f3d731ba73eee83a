/** @module A page whose test passes while its console complains: the harness must tell. */

import { check, pageTest } from "../page-cases.ts";

pageTest("passes, but leaves errors behind", async () => {
  setTimeout(() => {
    throw new Error("nobody caught this");
  });
  check(Worker !== undefined, "browsers have Worker");
  const worker = new Worker(new URL("./complaining-worker.js", import.meta.url), {
    type: "module",
  });
  await new Promise<void>((resolve) => worker.addEventListener("message", () => resolve()));
  // The console's messages travel by another road than the worker's answer.
  await new Promise((resolve) => setTimeout(resolve, 200));
  worker.terminate();
});
