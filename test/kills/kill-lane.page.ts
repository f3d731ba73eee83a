/** @module The page of a lane of `npm run kills` in a browser: it starts the lane's Worker. */

import { spawnWorker } from "../../src/host/spawn-worker.ts";
import type { Kill, KillOrder } from "./kill.ts";

const worker = spawnWorker(new URL("./kill-lane-worker.js", import.meta.url), undefined);
let settle: { readonly resolve: (kill: Kill) => void; readonly reject: (error: Error) => void };
worker.onMessage((answer) => settle.resolve(answer as Kill)); // the lane sends nothing else
worker.onError((error) => settle.reject(error));

/** One after the other. */
export function kill(order: KillOrder): Promise<Kill> {
  return new Promise((resolve, reject) => {
    settle = { resolve, reject };
    worker.post(order);
  });
}
