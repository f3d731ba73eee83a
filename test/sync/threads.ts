/**
 * @module Starts threads that play a role of roles.ts on a fixture's machine, and tells what became
 * of them.
 */

import { Worker } from "node:worker_threads";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import type { RoleName } from "./roles.ts";

export interface ThreadRequest {
  readonly buffer: SharedArrayBuffer;
  readonly name: string;
  readonly role: RoleName;
  readonly amount: number;
}

export interface ThreadReport {
  readonly result?: unknown;
  readonly error?: { readonly message: string; readonly code: string | undefined };
}

export interface Thread {
  readonly worker: Worker;
  /** It is registered, and about to play its role. */
  readonly ready: Promise<unknown>;
  /** What it said by say({ said }), first. */
  readonly said: Promise<unknown>;
  /** Its report; `{}` if it ended without one. */
  readonly report: Promise<ThreadReport>;
}

/** Starts one thread. `amount` means what the role says. */
export function startThread(
  memory: SharedMemory,
  role: RoleName,
  amount: number,
  name: string = role,
): Thread {
  const workerData: ThreadRequest = { buffer: memory.buffer, name, role, amount };
  const worker = new Worker(new URL("./sync-worker.js", import.meta.url), { workerData });
  const first = (key: string): Promise<unknown> =>
    new Promise((resolve) => {
      worker.on(
        "message",
        (message: Record<string, unknown>) => key in message && resolve(message[key]),
      );
      worker.on("exit", () => resolve(undefined));
    });
  const report = new Promise<ThreadReport>((resolve, reject) => {
    let last: ThreadReport = {};
    worker.on("message", (message: ThreadReport) => {
      if ("result" in message || "error" in message) last = message;
    });
    worker.on("error", reject);
    worker.on("exit", () => resolve(last));
  });
  return { worker, ready: first("ready"), said: first("said"), report };
}

/** The results of threads that all must succeed. */
export async function resultsOf(threads: readonly Thread[]): Promise<unknown[]> {
  const reports = await Promise.all(threads.map((thread) => thread.report));
  return reports.map((report) => {
    if (report.error !== undefined) throw new Error(report.error.message);
    return report.result;
  });
}
