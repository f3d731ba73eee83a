/**
 * @module Mutants of reads of shared state: a check without effect, a loop that checks once, a
 * result that is always true.
 */

import {
  COMPLAINTS,
  GIVERS,
  LOADS,
  LOOKS,
  SWAPS,
  TAKERS,
  TRIERS,
  removal,
  statementCall,
  textOf,
} from "./names.mjs";
import {
  below,
  callIn,
  calleeName,
  callsBelow,
  child,
  children,
  functionAround,
  word,
} from "./syntax.mjs";

/**
 * @typedef {import("./syntax.mjs").Node} Node
 * @typedef {import("./syntax.mjs").Visited} Visited
 * @typedef {import("./names.mjs").Find} Find
 */

/**
 * The calls that take something and those that give it back, before `offset` in its function: is
 * something held there?
 *
 * @param {Visited} visited
 */
function isUnderLock(visited) {
  const own = functionAround(visited);
  const body = own === undefined ? undefined : child(own.node, "body");
  if (body === undefined) return false;
  let isHeld = false;
  for (const { node } of callsBelow({ node: body, parent: undefined, field: "" })) {
    if (node.start >= visited.node.start) break;
    const name = calleeName(node);
    if (TAKERS.has(name) || TRIERS.has(name) || name.endsWith("NotZero")) isHeld = true;
    else if (GIVERS.has(name)) isHeld = false;
  }
  return isHeld;
}

/** @param {Node} test */
function looksAtShared(test) {
  return below({ node: test, parent: undefined, field: "" }).some(({ node }) => {
    if (node.type === "YieldExpression") return true;
    const name = node.type === "CallExpression" ? calleeName(node) : "";
    return LOADS.test(name) || SWAPS.test(name) || LOOKS.test(name);
  });
}

/**
 * The last statement of a block, or the statement itself.
 *
 * @param {Node | undefined} statement
 * @returns {Node | undefined}
 */
function lastOf(statement) {
  return statement?.type === "BlockStatement" ? children(statement, "body").at(-1) : statement;
}

/** @param {Node | undefined} statement */
function isComplaint(statement) {
  const last = lastOf(statement);
  if (last?.type === "ThrowStatement") return true;
  const call =
    last === undefined
      ? undefined
      : (statementCall(last) ??
        (last.type === "ReturnStatement" ? callIn(child(last, "argument")) : undefined));
  return call !== undefined && COMPLAINTS.test(calleeName(call));
}

/** @type {Find} */
export function findLook(visited, text) {
  const { node } = visited;
  const test = child(node, "test");
  if (!/^(If|While)Statement$/.test(node.type) || test === undefined) return [];
  const consequent = child(node, "consequent");
  if (isComplaint(consequent)) return [];
  if (
    /EXPLORED|REAL|DEBUG/.test(textOf(test, text)) ||
    callsBelow({ node: test, parent: undefined, field: "" }).some(
      ({ node: call }) => calleeName(call) === "hasPanicked",
    )
  )
    return [];
  if (!looksAtShared(test) && !isUnderLock(visited)) return [];
  const leaves = /^(Return|Continue|Break)Statement$/.test(lastOf(consequent)?.type ?? "");
  const fixed = node.type === "WhileStatement" || leaves ? "false" : "true";
  if (textOf(test, text) === fixed || textOf(test, text) === "true") return [];
  const mode = node.type === "WhileStatement" ? "while" : "if";
  return [
    {
      at: test,
      edits: [{ start: test.start, end: test.end, text: fixed }],
      what: `${mode} (${textOf(test, text)}): always ${fixed}`,
    },
  ];
}

/** @type {Find} */
export function findOnce({ node, parent, field }, text) {
  if (node.type !== "WhileStatement") return [];
  const inside = below({ node, parent, field });
  if (!inside.some(({ node: one }) => one.type === "YieldExpression")) return [];
  if (inside.some(({ node: one }) => /^(Break|Continue)Statement$/.test(one.type))) return [];
  const test = child(node, "test") ?? node;
  return [
    {
      at: node,
      edits: [{ start: node.start, end: node.start + "while".length, text: "if" }],
      what: `while (${textOf(test, text)}) looks once only`,
    },
  ];
}

/** @param {Node | undefined} node */
function isLoad(node) {
  const call = callIn(node);
  return call !== undefined && LOADS.test(calleeName(call));
}

/**
 * Whether `side` is a name that the function gives to what it has loaded.
 *
 * @param {Visited} visited
 * @param {Node | undefined} side
 */
function isLoaded(visited, side) {
  const body = child(functionAround(visited)?.node ?? visited.node, "body");
  if (side?.type !== "Identifier" || body === undefined) return false;
  return below({ node: body, parent: undefined, field: "" }).some(({ node }) => {
    const id = node.type === "VariableDeclarator" ? child(node, "id") : undefined;
    return (
      id !== undefined && word(id, "name") === word(side, "name") && isLoad(child(node, "init"))
    );
  });
}

/** @type {Find} */
export function findAnswer(visited, text) {
  const { node } = visited;
  if (node.type !== "BinaryExpression" || !/^[!=]==$/.test(word(node, "operator"))) return [];
  const sides = [child(node, "left"), child(node, "right")];
  if (!sides.some((side) => isLoad(side) || isLoaded(visited, side))) return [];
  let at = visited.parent;
  while (
    at !== undefined &&
    /^(LogicalExpression|ParenthesizedExpression|UnaryExpression)$/.test(at.node.type)
  )
    at = at.parent;
  if (at?.node.type !== "ReturnStatement") return [];
  const fixed = word(node, "operator") === "===" ? "true" : "false";
  return [
    {
      at: node,
      edits: [{ ...removal(node), text: fixed }],
      what: `${textOf(node, text)}: always ${fixed}`,
    },
  ];
}
