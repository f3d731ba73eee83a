/** @module Starts the workers of this layer's tests and collects what they report. */

import { Worker } from "node:worker_threads";
import type { MachineHandle } from "../../src/memory/machine.ts";

/** What stress-worker.ts does. */
export interface StressJob {
  readonly kind: "heap" | "frames" | "frames-without-lock" | "singleton";
  readonly handle: MachineHandle;
  readonly seed: number;
  readonly steps: number;
  /** Frames: a word for each frame number, 0 or the thread that has it. */
  readonly owners: SharedArrayBuffer;
}

export interface StressReport {
  readonly allocated: number;
  /** How many allocations failed. */
  readonly full: number;
  /** The first error, undefined if there was none. */
  readonly wrong: string | undefined;
  /** Singleton: its pointer. */
  readonly at: number;
}

export function startStress(job: StressJob): Promise<StressReport> {
  return reportOf(new Worker(new URL("./stress-worker.js", import.meta.url), { workerData: job }));
}

/** Word indices in the heap that the two sides of the shootdown tests share. */
export interface ShootdownWords {
  /** The page table. */
  readonly pgd: number;
  /** The page's entry in it. */
  readonly pte: number;
  /** Nonzero: the worker ends. */
  readonly stop: number;
  /** Counts the worker's accesses. */
  readonly done: number;
  /** Counts wrong values that it has loaded. */
  readonly bad: number;
  /** The generations. */
  readonly shootdown: number;
}

/**
 * What shootdown-worker.ts does. The broken ones make mistakes that X3 and X5 of soft-tlb.ts rule
 * out.
 */
export interface ShootdownJob {
  readonly kind: "load" | "load-unchecked" | "load-checked-before" | "add" | "add-not-inside";
  readonly handle: MachineHandle;
  readonly words: ShootdownWords;
}

export function startShootdown(job: ShootdownJob): { ended: Promise<string>; worker: Worker } {
  const worker = new Worker(new URL("./shootdown-worker.js", import.meta.url), { workerData: job });
  return { ended: reportOf<string>(worker), worker };
}

function reportOf<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    let report: { value: T } | undefined;
    worker.on("message", (value: T) => {
      report = { value };
    });
    worker.on("error", reject);
    worker.on("exit", () => {
      if (report === undefined) reject(new Error("the worker ended without a report"));
      else resolve(report.value);
    });
  });
}
