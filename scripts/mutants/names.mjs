/**
 * @module The names by which the kinds of mutants recognise a synchronising statement, and their
 * common queries.
 */

import { callIn, calleeName, child } from "./syntax.mjs";

/**
 * @typedef {import("./syntax.mjs").Node} Node
 * @typedef {import("./syntax.mjs").Visited} Visited
 */

/**
 * One replacement of a stretch of the text.
 *
 * @typedef {{ readonly start: number, readonly end: number, readonly text: string }} Edit
 */

/**
 * What one kind found: `at` is the node that must be reached for the mutant to matter.
 *
 * @typedef {{ readonly at: Node, readonly edits: readonly Edit[], readonly what: string }} Found
 */

/**
 * @typedef {object} Kind
 * @property {string} name
 * @property {string} does What is done, in words.
 * @property {string} reason Why such a mistake is worth looking for.
 * @property {(visited: Visited, text: string) => Found[]} find
 */

/** @typedef {(visited: Visited, text: string) => Found[]} Find */
/** Locks by the name of the method that takes them, with those that give them back. */
export const TAKERS = new Map([
  ["lock", "unlock"],
  ["downRead", "upRead"],
  ["downWrite", "upWrite"],
  ["readLock", "readUnlock"],
  ["writeBegin", "writeEnd"],
  ["enterStore", "leaveStore"],
  ["lockQueue", "unlockQueue"],
]);
/** Attempts, with those that give back what they took. */
export const TRIERS = new Map([
  ["tryLock", "unlock"],
  ["tryDownRead", "upRead"],
  ["tryDownWrite", "upWrite"],
]);
export const GIVERS = new Set(TAKERS.values());

/** Orders other threads to let go, or waits until they have. */
export const FLUSHES =
  /^(flush|flushAll|bump|synchronize|synchronizeSrcu|barrier|waitForStores|waitUntilQuiet)$/;
/** Wakes others. */
export const WAKES =
  /^(wake|wakeOne|wakeAll|wakeReaders|wakeWriter|wakeForState|complete|completeAll|futexWake|wakeAsyncWaiters|atomicNotify|notifyAll|completeBatch)$/;
/** One more. */
export const GETS =
  /^(get|getNotZero|pageGet|pageGetNotZero|pagePin|mmget|mmgetNotZero|mmgrab|hmmGet|cacheGet|useMirrorOps|addHolder|mmGrab)$/;
/** One less. */
export const PUTS =
  /^(put|pagePut|pagePutAll|pageUnpin|mmput|mmdrop|hmmPut|cachePut|putDevice|dropMirrorOps|dropHolder|putHalf)$/;
/** Who is written down as the owner of what, for the case that it dies. */
export const OWNING =
  /^(addResource|removeResource|disown|noteExclusive|noteCounted|dropHeld|setOwner)$/;
/** Tells the listeners of an address space. */
export const NOTICES = /^mmuNotifier/;
/** Writes a sequence, a mark or a state that others read without the writer's lock. */
export const MARKERS =
  /^(invalidateSequence|settleSequence|startSequence|orphanSequence|writeSequence|setMirrorStatus|recordInFlight|forgetInFlight|beginHold|endHold|declarePanic|trackEntry|markDirty|setDirty|setWant|invalidate|clearAccessed)$/;
/** Fields that are marks: what a reaper must give back, who is alive, what is in force. */
export const MARKS =
  /^(owns|stamp|invalidators|notifiers|overflow|armed|hmm|state|ownerAgent|resourceSlot|isOver|slot|generation|sequence|pgd)$/;
export const STORES = /^atomic(Store|Or|And|Xor)$/;
export const CHANGES = /^atomic(Exchange|Add|Sub)$/;
export const SWAPS = /^atomicCompareExchange$/;
export const LOADS = /^(atomicLoad|plainLoad|speculativeLoad|wordAt|readSequence|loadSequence)$/;
/** Looks at what others change, behind a name. */
export const LOOKS =
  /^(is(Listed|Live|Sole|Pinned|Done|Orphaned|Armed|StillValid|Current|InForce|Idle|Named|Accessed|Inside|Taken)|has(Completed|Changed|Calls|Met|Room)|must[A-Z]\w*|try[A-Z]\w*)$/;
/** Call-backs: what a driver or a listener does when it is told. */
export const CALL_BACKS = /^(hmm)?(invalidate|release|orphaned)/i;
/** What a task offers to an explorer and does not do: no effect of its own. */
export const OFFERS =
  /^(access|dataStep|describe|offer|step|conditionStep|name[A-Z]\w*|beforeStampChanges|park|beforeSleep|checkPanic)$/;
/** Ends in an assertion. */
export const COMPLAINTS = /^(bug|panic|complain|failure|fail|throw[A-Z]\w*|assert\w*|require\w*)$/;

/**
 * @param {Node} node
 * @param {string} text
 */
export function textOf(node, text) {
  return text.slice(node.start, node.end);
}

/**
 * The call of an expression statement, if it is one.
 *
 * @param {Node} node
 */
export function statementCall(node) {
  return node.type === "ExpressionStatement" ? callIn(child(node, "expression")) : undefined;
}

/** @param {Node} node @returns {Edit} */
export const removal = ({ start, end }) => ({ start, end, text: ";" });

/**
 * `yield* f()` as a statement.
 *
 * @param {Node} node
 */
export function isTask(node) {
  const expression = child(node, "expression");
  return (
    node.type === "ExpressionStatement" &&
    expression?.type === "YieldExpression" &&
    expression["delegate"] === true
  );
}

/**
 * Statements whose call has a name that fits: taken out.
 *
 * @param {RegExp} names
 * @returns {Find}
 */
export function removesCalls(names) {
  return ({ node }, text) => {
    const call = statementCall(node);
    if (call === undefined || !names.test(calleeName(call))) return [];
    return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
  };
}
