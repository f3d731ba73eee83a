/**
 * @module AddressSpace in a thread that may not block: Sync forms are refused at once, all others
 * work, and single accesses wait for a short time only.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";

test("a thread that may not block", async () => {
  const worker = new Worker(new URL("./page-worker.js", import.meta.url));
  const outcomes = await new Promise<unknown>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  const refused = "EOPNOTSUPP";
  assert.deepEqual(outcomes, {
    createSync: refused,
    attachSync: refused,
    mmapSync: refused,
    munmapSync: refused,
    forkSync: refused,
    readSync: refused,
    viewSync: refused,
    statsSync: refused,
    disposeSync: refused,
    "view.disposeSync": refused,
    loads: [41, 42],
    "after fork": [41, 7],
    "store while the lock is held": "EAGAIN",
    "store afterwards": "works",
    users: 2,
  });
});
