/**
 * @module A lane of `npm run kills` in a browser: a Worker, for a page's main thread may not block.
 */

import { enterWorker } from "../../src/host/worker-scope.ts";
import { obey } from "./kill-lane.ts";
import type { KillOrder } from "./kill.ts";

const scope = enterWorker();
scope.onMessage((order) => {
  // The page sends nothing else.
  void obey(order as KillOrder).then((kill) => scope.post(kill));
});
