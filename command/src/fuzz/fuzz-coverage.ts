/**
 * @module What a search has covered: which functions of the layers under test have run in this
 * thread, and which calls have met, that is, touched one word in two tasks.
 */

import { Session } from "node:inspector";
import type { Profiler } from "node:inspector";

import { CALLS } from "./fuzz-program.ts";
import { pairOfSignal } from "./signals.ts";

/** The layers whose functions are counted. */
const UNDER_TEST = /\/src\/((?:memory|mmu|notifier|mm|hmm)\/.*)\.js$/;

/** Names as `room/file.function`. */
export interface FunctionCoverage {
  readonly ran: readonly string[];
  readonly missed: readonly string[];
}

/** Pairs as `call+call`, in the order of their names. */
export interface PairCoverage {
  readonly met: readonly string[];
  readonly missed: readonly string[];
}

/** The functions that run in this thread from now on. The engine counts them, at no cost. */
export class RunFunctions {
  readonly #session = new Session();

  constructor() {
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: false, detailed: false });
  }

  /** So far. A stepping form counts as the function that it was derived from. */
  take(): FunctionCoverage {
    let scripts: readonly Profiler.ScriptCoverage[] = [];
    this.#session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error === null) scripts = result;
    });
    const ran = new Map<string, boolean>();
    for (const { url, functions } of scripts) {
      const file = UNDER_TEST.exec(url)?.[1];
      if (file === undefined) continue;
      for (const { functionName, ranges } of functions) {
        const name = functionName.replace(/\.?\$steps$/, "");
        if (name === "toString" || !/^[\w.#$]+$/.test(name)) continue;
        const key = `${file}.${name}`;
        ran.set(key, ran.get(key) === true || (ranges[0]?.count ?? 0) > 0);
      }
    }
    return partition(ran);
  }
}

/** Of several threads together. */
export function addFunctions(parts: readonly FunctionCoverage[]): FunctionCoverage {
  const ran = new Map<string, boolean>();
  for (const part of parts) for (const name of part.missed) ran.set(name, false);
  for (const part of parts) for (const name of part.ran) ran.set(name, true);
  return partition(ran);
}

function partition(ran: ReadonlyMap<string, boolean>): FunctionCoverage {
  const names = Array.from(ran.keys()).toSorted();
  return {
    ran: names.filter((name) => ran.get(name) === true),
    missed: names.filter((name) => ran.get(name) !== true),
  };
}

/** The pairs in these signals. */
export function pairsIn(signals: Iterable<string>): PairCoverage {
  const met = new Set<string>();
  for (const signal of signals) {
    const pair = pairOfSignal(signal);
    if (pair !== undefined) met.add(pair.toSorted().join("+"));
  }
  const names = CALLS.toSorted();
  const all = names.flatMap((one, i) => names.slice(i).map((other) => `${one}+${other}`));
  return { met: all.filter((pair) => met.has(pair)), missed: all.filter((pair) => !met.has(pair)) };
}
