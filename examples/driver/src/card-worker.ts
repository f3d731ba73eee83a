/** The Worker that plays the card: it joins the machine, without an address space, and serves. */

import { DriverThread, type DriverHandle, HmmMirror, enterWorker } from "hmm-ts/driver";
import { playCard } from "./card.js";

/** What the Worker is started with. */
export interface CardStart {
  readonly machine: DriverHandle;
  /** Pointer of the card's mirror: equal in all threads. */
  readonly at: number;
}

const scope = enterWorker();
const { machine, at } = (await scope.start) as CardStart;
using driver = DriverThread.attach(machine);
const mirror = new HmmMirror(driver.machine, at);
driver.runSync(playCard(mirror));
