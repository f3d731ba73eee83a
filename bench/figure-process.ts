/**
 * @module One figure in a process of its own, so that no figure sees another's compiled code,
 * garbage or memory. Started by main.ts with the figure's name; tells it on the IPC channel how it
 * gets on and what came out. By hand: `node figure-process.js NAME`.
 */

import { argv, exit } from "node:process";
import { figures } from "./figures.ts";
import type { Measurement } from "./figure.ts";

/** What the process tells. */
export type FigureMessage =
  | { readonly kind: "round"; readonly done: number; readonly total: number }
  | { readonly kind: "done"; readonly measurement: Measurement };

function tell(message: FigureMessage): Promise<void> {
  return new Promise((resolve, reject) => {
    if (process.send === undefined) {
      if (message.kind === "done")
        process.stdout.write(`${JSON.stringify(message.measurement, undefined, 2)}\n`);
      resolve();
      return;
    }
    process.send(message, (error: Error | null) => (error === null ? resolve() : reject(error)));
  });
}

const [, , name, mode] = argv;
const figure = figures.find((candidate) => candidate.name === name);
if (figure === undefined) throw new Error(`there is no figure "${String(name)}"`);
const measure = await figure.load();
const measurement = await measure({
  isQuick: mode === "quick",
  onRound: (done, total) => void tell({ kind: "round", done, total }),
});
await tell({ kind: "done", measurement });
exit(0); // some figures' Workers run for ever
