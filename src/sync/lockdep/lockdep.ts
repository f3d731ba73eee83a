/**
 * @module Lockdep: checks every acquisition while it happens, in DEBUG and EXPLORED mode.
 *
 * It reports what could deadlock in some timing, not only what did:
 *
 * | kind | rule that was broken |
 * | --- | --- |
 * | order | an order that lock-order.ts does not allow; for undeclared classes, an inversion of an order seen before |
 * | recursion | a task takes a lock that it holds |
 * | sleep | a task that holds a spinlock may sleep |
 * | not-owner | a task releases a lock that it does not hold |
 * | not-held | a task must hold a lock here, and does not |
 * | held-at-end | a task ends while it holds a lock |
 *
 * Every report has both places. As in kernel/locking/lockdep.c, it checks lock CLASSES, and it
 * remembers the orders that it has checked. Each thread learns orders for itself.
 *
 * A try-lock cannot wait, so its own acquisition breaks no order. Locks that are taken under it are
 * checked as usual.
 */

import { currentTask } from "../tasks/current-task.ts";
import type { HeldLock, LockIdentity, Site, TaskContext } from "../tasks/current-task.ts";
import { HELD_SRCU } from "./held-locks.ts";
import { orderAllows } from "./lock-order.ts";
import type { SharedMemory } from "../shared-memory.ts";

/** What kind of rule was broken. */
export type LockdepKind =
  | "order"
  | "recursion"
  | "sleep"
  | "not-owner"
  | "held-at-end"
  | "not-held";

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

/** A learned order: where the outer lock was taken, and where the inner one was taken under it. */
interface LearnedOrder {
  readonly outerSite: Site;
  readonly innerSite: Site;
}

const learned = new Map<string, Map<string, LearnedOrder>>();
/** Orders that were checked, as {@link orderKey}. */
const checkedOrders = new Set<number>();
/** The holder of each lock that this thread holds: for the other place of a "not-owner" report. */
const holders = new WeakMap<SharedMemory, Map<number, HeldLock>>();

/**
 * Where an explorer receives the reports. They are then not thrown into the task that breaks the
 * rule: the task goes on, possibly into the deadlock.
 */
export interface LockdepSink {
  report(error: LockdepError): void;
  /**
   * Whether reports have places. Without them an acquisition costs a tenth; an exhaustive search
   * gets the places by a replay.
   */
  readonly withSites: boolean;
}

let sink: LockdepSink | undefined;

/**
 * Sends this thread's reports of order, recursion and sleep to `next`. Undefined: they are thrown
 * again. Forgets the learned orders.
 */
export function divertLockdep(next: LockdepSink | undefined): void {
  sink = next;
  if (learned.size > 0) learned.clear();
  if (checkedOrders.size > 0) checkedOrders.clear();
}

function report(error: LockdepError): void {
  if (sink === undefined) throw error;
  sink.report(error);
}

/** The running task is about to take `lock`, and may wait for it. */
export function beforeAcquire(lock: LockIdentity, mode: number): void {
  const held = currentTask.held;
  if (!lock.isSpinlock && mode !== HELD_SRCU) beforeSleep(lock.lockClass.name);
  if (held.length === 0) return;
  for (const other of held) {
    const isSame = other.lock.at === lock.at && other.lock.memory === lock.memory;
    if (isSame && !(mode === HELD_SRCU && other.mode === HELD_SRCU)) {
      const message = `${lock.lockClass.name} is taken by a task that holds it`;
      report(new LockdepError("recursion", lock.lockClass.name, message, other.site, callSite()));
      return;
    }
  }
  for (const other of held) {
    const key = orderKey(other, lock, mode);
    if (checkedOrders.has(key)) continue;
    checkOrder(other, lock, mode, callSite());
    checkedOrders.add(key);
  }
}

const KEY_CLASSES = 4096;
const KEY_MODES = 8;

/** A number for two lock classes and the modes in which one is taken under the other. */
function orderKey(outer: HeldLock, inner: LockIdentity, mode: number): number {
  const outerKey = outer.lock.lockClass.id * KEY_MODES + outer.mode;
  return (outerKey * KEY_CLASSES + inner.lockClass.id) * KEY_MODES + mode;
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
      "not-owner",
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

/** The running task may be about to sleep. */
export function beforeSleep(what: string): void {
  const spinlock = currentTask.held.find((other) => other.lock.isSpinlock);
  if (spinlock === undefined) return;
  const name = spinlock.lock.lockClass.name;
  const message = `a task that holds the spinlock ${name} may sleep on ${what}`;
  report(new LockdepError("sleep", name, message, spinlock.site, callSite()));
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

function checkOrder(outer: HeldLock, inner: LockIdentity, mode: number, site: Site): void {
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
    report(new LockdepError("order", innerName, message, seen?.innerSite ?? outer.site, site));
    return;
  }
  learnOrder(outerName, innerName, { outerSite: outer.site, innerSite: site });
}

/** For undeclared classes: true, or the opposite order as it was learned. */
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
 * The folder of the project or package. A stack names files of this layer below it: built ones, or
 * sources where there are source maps. (A device's Worker runs one file, scripts/join-worker.mjs;
 * without source maps nothing in a stack there says what is of this layer.)
 */
const packageFolder =
  /^[^/]*\/\/(.*\/)(?:\.build|dist)\//.exec(import.meta.url)?.[1] ?? import.meta.url;
const SITE_FRAMES = 6;

const nowhere: Site = new Error("nowhere");
nowhere.stack = "";

/** The place in the code that called this layer. */
function callSite(): Site {
  return sink !== undefined && !sink.withSites ? nowhere : new Error("site");
}

/** The frames above this layer, as text. */
function siteText(site: Site | string): string {
  if (typeof site === "string") return site;
  const lines = (site.stack ?? "").split("\n").slice(1);
  const outside = lines.filter(
    (line) => !line.includes(packageFolder) || !line.includes("/src/sync/"),
  );
  return outside.slice(0, SITE_FRAMES).join("\n");
}
