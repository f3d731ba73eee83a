/** @module A thread of the host test (host-threads.ts): does the jobs that it is sent. */

import { AddressSpace } from "../../src/index.ts";
import {
  type AttachArgs,
  type ThreadAnswer,
  type ThreadOrder,
  findWorkerThreads,
} from "./host-threads.ts";

const parentPort = findWorkerThreads()?.parentPort ?? undefined;
let attached: AddressSpace | undefined;

function space(): AddressSpace {
  if (attached === undefined) throw new Error("this thread is attached to nothing");
  return attached;
}

function post(answer: ThreadAnswer): void {
  if (parentPort === undefined) self?.postMessage(answer);
  else parentPort.postMessage(answer);
}

const jobs: Readonly<Record<ThreadOrder["job"], (...args: readonly never[]) => unknown>> = {
  attach: async (...[handle, port]: AttachArgs): Promise<void> => {
    attached = await AddressSpace.attach(handle);
    if (port !== undefined) attached.connect(port);
  },
  add: (address: number, times: number): void => {
    for (let i = 0; i < times; i++) space().u32.atomicAdd(address, 1);
  },
  /** Maps a buffer that begins with `value`. */
  mapBuffer: (value: number): number => {
    const buffer = new SharedArrayBuffer(4096);
    new Uint32Array(buffer)[0] = value;
    return space().mmapSync(4096, { buffer });
  },
  /** Reads a word with the promise form, which waits for a buffer that is on its way. */
  read: async (address: number): Promise<number> => {
    const bytes = new Uint8Array(4);
    await space().read(address, bytes);
    return new Uint32Array(bytes.buffer)[0] ?? -1;
  },
  /** With `turns`, its event loop turns once in a thousand stores. */
  storeForEver: async (address: number, turns: boolean): Promise<never> => {
    const { u32 } = space();
    post({ kind: "begun" });
    for (let i = 0; ; i++) {
      u32.store(address, i);
      if (turns && i % 1000 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
  },
  leave: (): void => {
    space().disposeSync();
  },
};

async function follow({ job, args }: ThreadOrder): Promise<void> {
  try {
    const run = jobs[job] as (...args: readonly unknown[]) => unknown;
    post({ kind: "done", value: await run(...args) });
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    post({ kind: "failed", message });
  }
}

if (parentPort === undefined)
  self?.addEventListener("message", ({ data }) => void follow(data as ThreadOrder));
else parentPort.on("message", (order: ThreadOrder) => void follow(order));
post({ kind: "begun" });
