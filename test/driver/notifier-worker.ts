/** @module A thread that attaches with or without the driver, and may own a notifier. */

import { parentPort, workerData } from "node:worker_threads";
import { DriverThread } from "../../src/driver.ts";
import { AddressSpace, type AddressSpaceHandle } from "../../src/index.ts";

export interface NotifierOrder {
  readonly handle: AddressSpaceHandle;
  readonly hasDriver: boolean;
}

async function main({ handle, hasDriver }: NotifierOrder): Promise<string> {
  try {
    if (!hasDriver) {
      AddressSpace.attachSync(handle).disposeSync();
      return "attached";
    }
    const { openCounting } = await import("./counting-notifier.ts");
    const space = AddressSpace.attachSync(handle);
    const driver = DriverThread.open(space);
    const counting = await driver.runOnSpace(space, (mm) => openCounting(driver.machine, mm));
    return typeof counting === "number" ? `errno ${counting}` : "registered";
  } catch (error) {
    return String(error);
  }
}

if (workerData !== null) {
  parentPort?.on("message", () => {}); // it stays
  parentPort?.postMessage(await main(workerData as NotifierOrder));
}
