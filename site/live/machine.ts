/**
 * @module What the program of the live page works with: an address space, a second CPU thread and a
 * device, each of the two in a Worker of its own.
 */

import { AddressSpace, SoftwareDevice } from "hmm-ts";
import { DEVICE_FRAMES, PAGE } from "./layout.ts";
import { RemoteThread } from "./remote-thread.ts";
import { Watcher } from "./watcher.ts";

const RAM_BYTES = 2 ** 20;
const HEAP_BYTES = 2 ** 22;

export interface Machine {
  readonly space: AddressSpace;
  readonly thread: RemoteThread;
  readonly device: SoftwareDevice;
  /** Sees the invalidations of `space`. */
  readonly watcher: Watcher;
  dispose(): Promise<void>;
}

/** Rejects with what could not be started; the rest is disposed of then. */
export async function openMachine(): Promise<Machine> {
  const space = await AddressSpace.create({ ramBytes: RAM_BYTES, heapBytes: HEAP_BYTES });
  let thread: RemoteThread | undefined;
  try {
    thread = await RemoteThread.start(space.handle);
    const device = await SoftwareDevice.create(space, {
      memoryBytes: DEVICE_FRAMES * PAGE,
      worker: () => new Worker(new URL("./live-device.ts", import.meta.url), { type: "module" }),
    });
    const watcher = await Watcher.open(space);
    const opened = thread;
    const dispose = async (): Promise<void> => {
      await watcher.close();
      await device[Symbol.asyncDispose]();
      await opened.end();
      await space.dispose();
    };
    return { space, thread, device, watcher, dispose };
  } catch (error) {
    await thread?.end();
    await space.dispose();
    throw error;
  }
}
