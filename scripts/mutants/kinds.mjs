/**
 * @module The kinds of mutants: how a synchronising statement is changed, and why that is worth a
 * test. Each kind finds its own statements; names.mjs says what counts as one.
 */

import { findFewerWakes, findNotice, findReference } from "./find-calls.mjs";
import { findLock, findUnlock, findWeaker } from "./find-locks.mjs";
import { findAnswer, findLook, findOnce } from "./find-looks.mjs";
import { findCallBack, findOrder, findStep } from "./find-steps.mjs";
import { findMark, findSwap } from "./find-words.mjs";
import { FLUSHES, WAKES, removesCalls } from "./names.mjs";
import { oneLine, walk } from "./syntax.mjs";

/**
 * @typedef {import("./syntax.mjs").Visited} Visited
 * @typedef {import("./names.mjs").Edit} Edit
 * @typedef {import("./names.mjs").Found} Found
 */

/**
 * @typedef {object} Kind
 * @property {string} name
 * @property {string} does What is done, in words.
 * @property {string} reason Why such a mistake is worth looking for.
 * @property {(visited: Visited, text: string) => Found[]} find
 */

/** @type {readonly Kind[]} */
export const kinds = [
  {
    name: "lock",
    does: "a lock is not taken in a function, nor tried, nor given back",
    reason: "what it guards is then read and written by two at once",
    find: findLock,
  },
  {
    name: "unlock",
    does: "a lock is not given back",
    reason: "the next who wants it waits for ever",
    find: findUnlock,
  },
  {
    name: "weaker",
    does: "a lock is taken for reading instead of for writing",
    reason: "readers then see what is half changed",
    find: findWeaker,
  },
  {
    name: "flush",
    does: "a flush, a new generation or a grace period is left out",
    reason: "others still use what has been taken away",
    find: removesCalls(FLUSHES),
  },
  {
    name: "wake",
    does: "nobody is woken",
    reason: "who sleeps, sleeps on: a lost wake-up",
    find: removesCalls(WAKES),
  },
  {
    name: "fewer",
    does: "one is woken instead of all",
    reason: "with two sleepers the second sleeps on",
    find: findFewerWakes,
  },
  {
    name: "reference",
    does: "a reference is not taken, or not given back",
    reason: "the object is freed under its user, or never",
    find: findReference,
  },
  {
    name: "notice",
    does: "listeners are not told of a change of the mapping",
    reason: "a device keeps what it should have let go",
    find: findNotice,
  },
  {
    name: "compare",
    does: "a compare-and-swap stores without a look and says that it fitted",
    reason: "what another thread has just stored is lost",
    find: findSwap,
  },
  {
    name: "mark",
    does: "a store of a sequence, a state, an owner or another mark is left out",
    reason: "others decide by an old one, and a reaper gives back too much or too little",
    find: findMark,
  },
  {
    name: "look",
    does: "a look at shared state decides nothing: an early way out is never taken, anything else always done",
    reason: "what was true before the lock or the wait need not be true after it",
    find: findLook,
  },
  {
    name: "answer",
    does: "a comparison with a shared word that a function answers with is taken to hold",
    reason: "who asks whether something is still as it was is told yes",
    find: findAnswer,
  },
  {
    name: "callback",
    does: "a call-back that listens to a space does nothing",
    reason: "the device goes on with what it should let go",
    find: findCallBack,
  },
  {
    name: "once",
    does: "a loop that waits looks once only",
    reason: "who is woken need not find what it waits for",
    find: findOnce,
  },
  {
    name: "step",
    does: "one step of a protocol, a bare `yield*`, is left out",
    reason: "each is a place where others come in, and the protocols are made of them",
    find: findStep,
  },
  {
    name: "order",
    does: "two neighbouring steps change places",
    reason: "most protocols here are nothing but an order",
    find: findOrder,
  },
];

/**
 * Everything that `kind` finds in a file.
 *
 * @param {Kind} kind
 * @param {Visited} root
 * @param {string} text
 * @returns {{ found: Found, visited: Visited }[]}
 */
export function findAll(kind, root, text) {
  return [...walk(root)].flatMap((visited) =>
    kind
      .find(visited, text)
      .map((found) => ({ found: { ...found, what: oneLine(found.what) }, visited })),
  );
}
