/**
 * @module Mutants of protocols: a step that is left out, two steps that are exchanged, a callback
 * that does nothing.
 */

import {
  CALL_BACKS,
  CHANGES,
  FLUSHES,
  GETS,
  GIVERS,
  MARKERS,
  NOTICES,
  OFFERS,
  OWNING,
  PUTS,
  STORES,
  SWAPS,
  TAKERS,
  WAKES,
  isTask,
  removal,
  statementCall,
  textOf,
} from "./names.mjs";
import { below, callIn, calleeName, child, children, word } from "./syntax.mjs";

/**
 * @typedef {import("./syntax.mjs").Node} Node
 * @typedef {import("./syntax.mjs").Visited} Visited
 * @typedef {import("./names.mjs").Find} Find
 */

/** @type {Find} */
export function findCallBack(visited) {
  const { node } = visited;
  if (node.type !== "FunctionDeclaration" || node["generator"] !== true) return [];
  const name = word(child(node, "id") ?? node, "name");
  const body = child(node, "body");
  if (!CALL_BACKS.test(name) || body === undefined) return [];
  const first = children(body, "body")[0] ?? body;
  return [
    {
      at: first,
      edits: [{ start: body.start, end: body.end, text: "{ return 0; }" }],
      what: `${name} does nothing`,
    },
  ];
}

/** Of the other kinds, what a bare `yield*` may be. */
const CLASSED = [FLUSHES, WAKES, GETS, PUTS, OWNING, MARKERS, OFFERS, NOTICES];

/** @type {Find} */
export function findStep({ node }, text) {
  const call = isTask(node) ? statementCall(node) : undefined;
  if (call === undefined) return [];
  const name = calleeName(call);
  if (
    name === "" ||
    TAKERS.has(name) ||
    GIVERS.has(name) ||
    CLASSED.some((names) => names.test(name))
  )
    return [];
  return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
}

/** @param {Visited} statement */
function synchronises(statement) {
  const inside = below(statement);
  if (inside.some(({ node }) => /^(Return|Break|Continue|Throw)Statement$/.test(node.type)))
    return false;
  return inside.some(({ node }) => {
    if (node.type !== "CallExpression")
      return node.type === "YieldExpression" && callIn(node) === undefined;
    const name = calleeName(node);
    if (OFFERS.test(name)) return false;
    const isClassed = [FLUSHES, WAKES, OWNING, MARKERS, NOTICES, STORES, CHANGES, SWAPS].some(
      (names) => names.test(name),
    );
    return isClassed || TAKERS.has(name) || GIVERS.has(name) || isDelegated(inside, node);
  });
}

/**
 * @param {readonly Visited[]} inside
 * @param {Node} call
 */
function isDelegated(inside, call) {
  return inside.some(
    ({ node }) => node.type === "YieldExpression" && child(node, "argument") === call,
  );
}

/**
 * Names that a statement declares or assigns.
 *
 * @param {Visited} statement
 */
function writtenNames(statement) {
  return below(statement).flatMap(({ node, field }) => {
    const isDeclared = node.type === "Identifier" && field === "id";
    if (isDeclared) return [word(node, "name")];
    const target = node.type === "AssignmentExpression" ? child(node, "left") : undefined;
    return target?.type === "Identifier" ? [word(target, "name")] : [];
  });
}

/** @type {Find} */
export function findOrder(visited, text) {
  const { node, parent, field } = visited;
  if (field !== "body" || parent?.node.type !== "BlockStatement") return [];
  const row = children(parent.node, "body");
  const next = row[row.indexOf(node) + 1];
  if (next === undefined) return [];
  const second = { node: next, parent, field };
  if (!synchronises(visited) || !synchronises(second)) return [];
  const names = new Set(
    below(second).map(({ node: one }) => (one.type === "Identifier" ? word(one, "name") : "")),
  );
  if (writtenNames(visited).some((name) => names.has(name))) return [];
  const own = new Set(
    below(visited).map(({ node: one }) => (one.type === "Identifier" ? word(one, "name") : "")),
  );
  if (writtenNames(second).some((name) => own.has(name))) return [];
  const [one, other] = [textOf(node, text), textOf(next, text)];
  if (one === other) return [];
  const edits = [
    { start: node.start, end: node.end, text: other },
    { start: next.start, end: next.end, text: one },
  ];
  return [{ at: node, edits, what: `${other} before ${one}` }];
}
