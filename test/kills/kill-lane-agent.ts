/** @module A lane of `npm run kills` in Node: a process, which can be ended if it hangs. */

import { obey } from "./kill-lane.ts";
import type { KillOrder } from "./kill.ts";

process.on("message", (order: KillOrder) => {
  void obey(order).then((kill) => process.send?.(kill));
});

// Ctrl-C reaches every process of the terminal. Who started this one ends it.
process.on("SIGINT", () => {});
