/**
 * @module Starts threads that play a role of roles.ts on a harness's machine, and tells what became
 * of them.
 */

import { Worker } from "node:worker_threads";
import type { MachineHandle } from "../../src/memory/machine.ts";
import type { Harness } from "./harness.ts";
import type { RoleName } from "./roles.ts";

export interface HmmThreadRequest {
  readonly handle: MachineHandle;
  readonly role: RoleName;
  /** The address space. */
  readonly mm: number;
  /** A driver's struct, for roles that work on one. */
  readonly driver: number;
  readonly seed: number;
  readonly rounds: number;
}

export interface HmmThread {
  readonly worker: Worker;
  /** The first thing that its role says. */
  readonly said: Promise<unknown>;
  /** What its role returned. Rejects with what it threw; undefined if it was terminated. */
  readonly result: Promise<unknown>;
}

interface Message {
  readonly said?: unknown;
  readonly result?: unknown;
  readonly error?: string;
}

export function startThread(
  harness: Harness,
  role: RoleName,
  options: { readonly driver?: number; readonly seed?: number; readonly rounds?: number } = {},
): HmmThread {
  const { driver = 0, seed = 1, rounds = 100 } = options;
  const workerData: HmmThreadRequest = {
    handle: harness.machine.handle,
    role,
    mm: harness.mm.at,
    driver,
    seed,
    rounds,
  };
  const worker = new Worker(new URL("./hmm-worker.js", import.meta.url), { workerData });
  const said = new Promise<unknown>((resolve) => {
    worker.on("message", (message: Message) => "said" in message && resolve(message.said));
    worker.on("exit", () => resolve(undefined));
  });
  const result = new Promise<unknown>((resolve, reject) => {
    worker.on("message", (message: Message) => {
      if ("result" in message) resolve(message.result);
      if (message.error !== undefined) reject(new Error(`${role}: ${message.error}`));
    });
    worker.on("error", reject);
    worker.on("exit", () => resolve(undefined));
  });
  return { worker, said, result };
}
