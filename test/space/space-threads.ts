/** @module Starts the Workers of space-worker.ts and returns their results. */

import { Worker } from "node:worker_threads";
import type { AddressSpace } from "../../src/index.ts";
import type { PartName, PartRequest } from "./space-worker.ts";

export interface Part {
  readonly worker: Worker;
  /** The next message that has `key`. */
  next(key: string): Promise<unknown>;
  /** What the part returned; rejects with what it threw. */
  readonly result: Promise<unknown>;
}

/**
 * Starts one Worker on `space` that plays a part. With a `gate` it says when it has attached, and
 * waits until word 0 is no longer 0.
 */
export function startWorker(
  space: AddressSpace,
  part: PartName,
  index: number,
  rounds = 0,
  gate?: Int32Array,
): Part {
  const request: PartRequest = {
    handle: space.handle,
    part,
    index,
    rounds,
    ...(gate === undefined ? {} : { gate }),
  };
  return follow(new Worker(new URL("./space-worker.js", import.meta.url), { workerData: request }));
}

/** Starts one Worker on `space` that runs sequences of operations. */
export function startModel(space: AddressSpace): Part {
  return follow(
    new Worker(new URL("./model-worker.js", import.meta.url), {
      workerData: { handle: space.handle },
    }),
  );
}

function follow(worker: Worker): Part {
  const ended = new Promise<never>((_, reject) => {
    worker.on("error", reject);
    worker.on("exit", (code) =>
      reject(new Error(`the Worker ended with ${code} before it answered`)),
    );
  });
  ended.catch(() => {}); // told to those who wait for an answer
  const next = (key: string): Promise<unknown> => {
    const message = new Promise<unknown>((resolve) => {
      const listener = (data: Record<string, unknown>): void => {
        if (!(key in data)) return;
        worker.off("message", listener);
        resolve(data[key]);
      };
      worker.on("message", listener);
    });
    return Promise.race([message, ended]);
  };
  const result = next("result");
  result.catch(() => {}); // parts that are terminated have none
  return { worker, next, result };
}
