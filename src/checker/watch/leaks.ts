/**
 * @module Leaks: what is left at the end of an execution in which every task returned. A leak is an
 * object that was allocated and not freed, or a reference count that is too high. The scenario says
 * what may be left. All other objects must not be more, of each kind, than at the beginning.
 */

import { COUNTS_REFERENCES, kindCode } from "../steps/kinds.ts";
import { taskOf } from "../steps/trace.ts";
import type { Trace } from "../steps/trace.ts";
import type { ObjectLifetime, ObjectLifetimes } from "./object-lifetimes.ts";

const REF_PUT = kindCode("refPut");

export interface Leak {
  readonly kind: "leak" | "refcount-leak";
  readonly message: string;
  /** The steps concerned: the allocation, or the last get of a reference. */
  readonly steps: readonly number[];
}

/** What {@link findLeaks} needs to know of an execution. */
export interface LeakContext {
  readonly trace: Trace;
  readonly lives: ObjectLifetimes;
  readonly words: Int32Array;
  readonly names: readonly string[];
  /** The value of a word at the beginning. */
  initial(word: number): number;
  /** Labels of objects that may be left. */
  readonly mayRemain: readonly string[];
}

/** The leaks of an execution in which every task returned. */
export function findLeaks(context: LeakContext): Leak[] {
  const counts = countsTouched(context.trace);
  const left = objectsLeft(context);
  const leaks = left.map((life) => leakOf(context, life, counts));
  for (const [word, step] of counts) {
    const life = context.lives.holding(word);
    if (life !== undefined && (life.freeStep !== undefined || left.includes(life))) continue;
    const [before, after] = [context.initial(word), context.words[word]!];
    if (life?.allocStep !== undefined || after <= before) continue;
    const message = `a reference count is ${after} at the end and was ${before} at the beginning; ${nameOf(context, step)} took the last reference`;
    leaks.push({ kind: "refcount-leak", message, steps: [step] });
  }
  return leaks;
}

/**
 * Objects that the execution allocated and did not free. Of each kind, one is allowed for each
 * object of the set-up that the execution freed.
 */
function objectsLeft({ lives, mayRemain }: LeakContext): ObjectLifetime[] {
  const spare = new Map<string, number>();
  for (const { label, allocStep } of lives.all) {
    if (allocStep === undefined) spare.set(label, (spare.get(label) ?? 0) + 1);
  }
  return lives.all.filter(({ label, allocStep, freeStep }) => {
    if (allocStep === undefined || freeStep !== undefined || mayRemain.includes(label))
      return false;
    const room = spare.get(label) ?? 0;
    spare.set(label, room - 1);
    return room <= 0;
  });
}

function leakOf(
  context: LeakContext,
  life: ObjectLifetime,
  counts: ReadonlyMap<number, number>,
): Leak {
  const allocStep = life.allocStep ?? 0;
  const what = `${life.label}, which ${nameOf(context, allocStep)} allocated, is never freed`;
  for (const [word, step] of counts) {
    const count = context.words[word]!;
    if (word < life.at || word >= life.at + life.words || count <= 0) continue;
    const message = `${what}: its reference count is ${count}; ${nameOf(context, step)} took the last reference`;
    return { kind: "refcount-leak", message, steps: [allocStep, step] };
  }
  return { kind: "leak", message: what, steps: [allocStep] };
}

/**
 * The reference counts that steps touched, with the last step that got a reference; if there is
 * none, with the first step that touched the count.
 */
function countsTouched(trace: Trace): Map<number, number> {
  const counts = new Map<number, number>();
  for (let step = 0; step < trace.length; step++) {
    if (COUNTS_REFERENCES[trace.kind[step]!] === 0) continue;
    const word = trace.index[step]!;
    if (trace.kind[step] !== REF_PUT || !counts.has(word)) counts.set(word, step);
  }
  return counts;
}

function nameOf({ trace, names }: LeakContext, step: number): string {
  return names[taskOf(trace.transition[step]!)] ?? "";
}
