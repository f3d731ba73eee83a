/** @module Mutants of calls on which other threads rely: wakes, references, notifications. */

import {
  GETS,
  NOTICES,
  PUTS,
  isTask,
  removal,
  removesCalls,
  statementCall,
  textOf,
} from "./names.mjs";
import { calleeName, child, children, receiver } from "./syntax.mjs";

/**
 * @typedef {import("./syntax.mjs").Node} Node
 * @typedef {import("./syntax.mjs").Visited} Visited
 * @typedef {import("./names.mjs").Find} Find
 */

/** @type {Find} */
export function findFewerWakes({ node }, text) {
  if (node.type !== "CallExpression") return [];
  const property = child(child(node, "callee") ?? node, "property");
  if (calleeName(node) === "wakeAll" && property !== undefined && property.type === "Identifier") {
    return [
      {
        at: node,
        edits: [{ start: property.start, end: property.end, text: "wakeOne" }],
        what: `${textOf(node, text)} wakes one only`,
      },
    ];
  }
  const [, , count] = children(node, "arguments");
  if (
    !/^(futexWake|wakeAsyncWaiters)$/.test(calleeName(node)) ||
    count === undefined ||
    textOf(count, text) !== "Infinity"
  )
    return [];
  return [
    {
      at: node,
      edits: [{ start: count.start, end: count.end, text: "1" }],
      what: `${textOf(node, text)} wakes one only`,
    },
  ];
}

/** @type {Find} */
export function findReference({ node, parent }, text) {
  const call = statementCall(node);
  if (call !== undefined && (GETS.test(calleeName(call)) || PUTS.test(calleeName(call)))) {
    if (!isTask(node) && receiver(call, text) !== "") return []; // a Map's
    return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
  }
  if (node.type !== "YieldExpression" || parent?.node.type === "ExpressionStatement") return [];
  const used = child(node, "argument");
  if (used?.type !== "CallExpression") return [];
  const name = calleeName(used);
  if (name.endsWith("NotZero"))
    return [
      {
        at: node,
        edits: [{ ...removal(node), text: "true" }],
        what: `${textOf(node, text)} counts nothing and says yes`,
      },
    ];
  if (!PUTS.test(name)) return [];
  return [
    {
      at: node,
      edits: [{ ...removal(node), text: "false" }],
      what: `${textOf(node, text)} gives nothing back`,
    },
  ];
}

/** @type {Find} */
export function findNotice(visited, text) {
  const { node, parent } = visited;
  if (node.type !== "YieldExpression" || parent?.node.type === "ExpressionStatement")
    return removesCalls(NOTICES)(visited, text);
  const call = child(node, "argument");
  if (call?.type !== "CallExpression" || !NOTICES.test(calleeName(call))) return [];
  return [
    {
      at: node,
      edits: [{ ...removal(node), text: "0" }],
      what: `${textOf(node, text)} is missing`,
    },
  ];
}
