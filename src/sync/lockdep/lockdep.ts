/**
 * @module Lockdep: checks every acquisition while it happens, in DEBUG and EXPLORED mode.
 *
 * It reports what could deadlock in some timing, not only what did: an order that the text of
 * lock-order.ts does not allow, an inversion of an order seen before (for classes that the text
 * does not know), taking a lock twice, sleeping while a spinlock is held, a release by somebody who
 * does not hold the lock, a task that ends while it holds one. Every report has both places. It
 * follows kernel/locking/lockdep.c in judging lock CLASSES and in remembering the chains already
 * judged; orders are learned by each thread for itself.
 *
 * A try-lock cannot wait, so its own acquisition breaks no order; what is taken under it is judged
 * as usual.
 */

import { currentTask } from "../tasks/current-task.ts";
import type { HeldLock, LockIdentity, Site, TaskContext } from "../tasks/current-task.ts";
import { HELD_SRCU } from "./held-locks.ts";
import { orderAllows } from "./lock-order.ts";
import type { SharedMemory } from "../shared-memory.ts";

/** What kind of rule was broken. */
export type LockdepKind = "order" | "recursion" | "sleep" | "stranger" | "held-at-end" | "not-held";

/** A rule of locking was broken. `firstSite` is the earlier of the two places, if there is one. */
export class LockdepError extends Error {
  readonly code: string = "ELOCKDEP";
  readonly kind: LockdepKind;
  readonly lockName: string;
  readonly firstSite: string;
  readonly secondSite: string;

  constructor(
    kind: LockdepKind,
    lockName: string,
    message: string,
    first: Site | string,
    second: Site | string,
  ) {
    const [firstSite, secondSite] = [siteText(first), siteText(second)];
    super(`${message}\n  first, at:\n${firstSite}\n  then, at:\n${secondSite}`);
    this.name = "LockdepError";
    this.kind = kind;
    this.lockName = lockName;
    this.firstSite = firstSite;
    this.secondSite = secondSite;
  }
}

/** A learned order: `inner` was taken under `outer` there. */
interface LearnedOrder {
  readonly outerSite: Site;
  readonly innerSite: Site;
}

const learned = new Map<string, Map<string, LearnedOrder>>();
const judgedChains = new Set<string>();
/** Who holds what in this thread: for the second place of a report about a stranger. */
const holders = new WeakMap<SharedMemory, Map<number, HeldLock>>();

/**
 * Where an explorer wants the reports, instead of having them thrown into the task that breaks the
 * rule: an inversion is then noted, and the task goes on into the deadlock that it may lead to.
 */
export interface LockdepSink {
  report(error: LockdepError): void;
  /** Without them (an exhaustive search tells places by replaying) an acquisition costs a tenth. */
  readonly withSites: boolean;
}

let sink: LockdepSink | undefined;

/**
 * Sends this thread's reports of order, recursion and sleep to `next`; undefined throws them again.
 * Forgets learned orders.
 */
export function divertLockdep(next: LockdepSink | undefined): void {
  sink = next;
  if (learned.size > 0) learned.clear();
  if (judgedChains.size > 0) judgedChains.clear();
}

function complain(error: LockdepError): void {
  if (sink === undefined) throw error;
  sink.report(error);
}

/** Before a wait for `lock` may begin. Throws what it finds. */
export function beforeAcquire(lock: LockIdentity, mode: number): void {
  const held = currentTask.held;
  if (!lock.isSpinlock && mode !== HELD_SRCU) beforeSleep(lock.lockClass.name);
  if (held.length === 0) return;
  for (const other of held) {
    const isSame = other.lock.at === lock.at && other.lock.memory === lock.memory;
    if (isSame && !(mode === HELD_SRCU && other.mode === HELD_SRCU)) {
      const message = `${lock.lockClass.name} is taken by a task that holds it`;
      complain(new LockdepError("recursion", lock.lockClass.name, message, other.site, callSite()));
      return;
    }
  }
  const chain = `${held.map((other) => `${other.lock.lockClass.id}.${other.mode}`).join(">")}>${lock.lockClass.id}.${mode}`;
  if (judgedChains.has(chain)) return;
  const site = callSite();
  for (const other of held) judgeOrder(other, lock, mode, site);
  judgedChains.add(chain);
}

/** The lock is taken. */
export function afterAcquire(lock: LockIdentity, mode: number): void {
  const entry: HeldLock = { lock, mode, site: callSite(), taskName: currentTask.name };
  currentTask.held.push(entry);
  let here = holders.get(lock.memory);
  if (here === undefined) holders.set(lock.memory, (here = new Map<number, HeldLock>()));
  here.set(lock.at, entry);
}

/** The lock is about to be released by the running task. */
export function beforeRelease(lock: LockIdentity, mode: number): void {
  const held = currentTask.held;
  const index = held.findLastIndex((other) => isHeldAs(other, lock, mode));
  if (index < 0) {
    const holder = holders.get(lock.memory)?.get(lock.at);
    const who = holder === undefined ? "no task of this thread" : `task "${holder.taskName}"`;
    throw new LockdepError(
      "stranger",
      lock.lockClass.name,
      `task "${currentTask.name}" releases ${lock.lockClass.name}, which it does not hold: ${who} does`,
      holder?.site ?? "    (not in this thread)",
      callSite(),
    );
  }
  held.splice(index, 1);
  const here = holders.get(lock.memory);
  if (here !== undefined && !held.some((other) => other.lock.at === lock.at)) here.delete(lock.at);
}

/** The running task is about to wait otherwise than by spinning, or might. */
export function beforeSleep(what: string): void {
  const spinlock = currentTask.held.find((other) => other.lock.isSpinlock);
  if (spinlock === undefined) return;
  const name = spinlock.lock.lockClass.name;
  const message = `a task that holds the spinlock ${name} may sleep on ${what}`;
  complain(new LockdepError("sleep", name, message, spinlock.site, callSite()));
}

/** Throws unless the running task holds `lock` in one of `modes`. */
export function requireHeld(lock: LockIdentity, modes: readonly number[]): void {
  if (currentTask.held.some((other) => modes.some((mode) => isHeldAs(other, lock, mode)))) return;
  const holder = holders.get(lock.memory)?.get(lock.at);
  const message = `task "${currentTask.name}" must hold ${lock.lockClass.name} here`;
  throw new LockdepError(
    "not-held",
    lock.lockClass.name,
    message,
    holder?.site ?? "    (nobody in this thread holds it)",
    callSite(),
  );
}

/** The report on a task that returned with locks held. */
export function heldAtEnd(context: TaskContext): LockdepError {
  const names = context.held.map((other) => other.lock.lockClass.name).join(", ");
  const site = context.held[0]?.site ?? "";
  return new LockdepError(
    "held-at-end",
    names,
    `task "${context.name}" ended while it held ${names}`,
    site,
    "    (its end)",
  );
}

function isHeldAs(held: HeldLock, lock: LockIdentity, mode: number): boolean {
  return held.lock.at === lock.at && held.lock.memory === lock.memory && held.mode === mode;
}

function judgeOrder(outer: HeldLock, inner: LockIdentity, mode: number, site: Site): void {
  const outerName = outer.lock.lockClass.name;
  const innerName = inner.lockClass.name;
  if (outerName === innerName && mode === HELD_SRCU && outer.mode === HELD_SRCU) return;
  const allowed = orderAllows(outerName, innerName) ?? learnedAllows(outerName, innerName);
  if (allowed !== true) {
    const seen = allowed === false ? undefined : allowed;
    const reason =
      seen === undefined
        ? "the lock order does not allow it"
        : "the opposite order was seen before";
    const message = `${innerName} is taken while ${outerName} is held: ${reason}`;
    complain(new LockdepError("order", innerName, message, seen?.innerSite ?? outer.site, site));
    return;
  }
  learnOrder(outerName, innerName, { outerSite: outer.site, innerSite: site });
}

/** For classes that the text does not know: true, or the opposite order as it was learned. */
function learnedAllows(outer: string, inner: string): true | false | LearnedOrder {
  if (outer === inner) return false;
  const seen = new Set<string>([inner]);
  const queue: [string, LearnedOrder | undefined][] = [[inner, undefined]];
  for (let step = queue.pop(); step !== undefined; step = queue.pop()) {
    const [name, first] = step;
    for (const [next, order] of learned.get(name) ?? []) {
      if (next === outer) return first ?? order;
      if (seen.has(next)) continue;
      seen.add(next);
      queue.push([next, first ?? order]);
    }
  }
  return true;
}

function learnOrder(outer: string, inner: string, order: LearnedOrder): void {
  let under = learned.get(outer);
  if (under === undefined) learned.set(outer, (under = new Map<string, LearnedOrder>()));
  if (!under.has(inner)) under.set(inner, order);
}

/**
 * Where this layer is compiled to, and where its source is: a stack names the latter where source
 * maps are applied.
 */
const compiledFolder = new URL(".", import.meta.url).pathname;
const sourceFolder = compiledFolder.replace(
  /\/(?:\.build|dist)\/(?:stepped\/)?src\/sync\/$/,
  "/src/sync/",
);
const SITE_FRAMES = 6;

const nowhere: Site = new Error("nowhere");
nowhere.stack = "";

/** Where the caller of this layer is. */
function callSite(): Site {
  return sink !== undefined && !sink.withSites ? nowhere : new Error("site");
}

/** The frames above this layer, as text. */
function siteText(site: Site | string): string {
  if (typeof site === "string") return site;
  const lines = (site.stack ?? "").split("\n").slice(1);
  const outside = lines.filter(
    (line) => !line.includes(compiledFolder) && !line.includes(sourceFolder),
  );
  return outside.slice(0, SITE_FRAMES).join("\n");
}
