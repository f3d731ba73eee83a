/**
 * @module Mutants of accesses to single words: a compare-exchange that does not compare, a store
 * that is left out.
 */

import {
  CHANGES,
  MARKERS,
  MARKS,
  OWNING,
  STORES,
  SWAPS,
  removal,
  statementCall,
  textOf,
} from "./names.mjs";
import { calleeName, child, children, functionName, word } from "./syntax.mjs";

/**
 * @typedef {import("./syntax.mjs").Node} Node
 * @typedef {import("./syntax.mjs").Visited} Visited
 * @typedef {import("./names.mjs").Find} Find
 */

/** @type {Find} */
export function findSwap({ node }, text) {
  if (node.type !== "CallExpression" || !SWAPS.test(calleeName(node))) return [];
  const [words, index, expected, fresh] = children(node, "arguments").map((argument) =>
    textOf(argument, text),
  );
  // By the call that is there, so that it stays a step; 0 for 0 changes nothing and says what is
  // there.
  const swap = calleeName(node);
  const seen = `${swap}(${words}, ${index}, 0, 0)`;
  const edit = {
    start: node.start,
    end: node.end,
    text: `(${swap}(${words}, ${index}, ${seen}, ${fresh}), ${expected})`,
  };
  return [{ at: node, edits: [edit], what: `${textOf(node, text)} does not compare` }];
}

/** @type {Find} */
export function findMark(visited, text) {
  const { node, parent } = visited;
  const call = statementCall(node);
  if (call !== undefined) {
    const name = calleeName(call);
    if (!STORES.test(name) && !CHANGES.test(name) && !MARKERS.test(name) && !OWNING.test(name))
      return [];
    return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
  }
  if (
    node.type === "CallExpression" &&
    CHANGES.test(calleeName(node)) &&
    parent?.node.type !== "ExpressionStatement"
  ) {
    const [words, index] = children(node, "arguments").map((argument) => textOf(argument, text));
    const name = calleeName(node);
    const idle = /(Add|Sub)$/.test(name)
      ? `${name}(${words}, ${index}, 0)`
      : `Atomics.load(${words}, ${index})`;
    return [
      {
        at: node,
        edits: [{ ...removal(node), text: idle }],
        what: `${textOf(node, text)} changes nothing`,
      },
    ];
  }
  if (node.type !== "ExpressionStatement") return [];
  const expression = child(node, "expression");
  const target =
    expression === undefined
      ? undefined
      : (child(expression, "left") ?? child(expression, "argument"));
  if (
    !/^(AssignmentExpression|UpdateExpression)$/.test(expression?.type ?? "") ||
    target?.type !== "MemberExpression"
  )
    return [];
  // Of an object that nobody else knows.
  if (functionName(visited).endsWith(".constructor")) return [];
  const property = child(target, "property");
  if (property?.type !== "Identifier" || !MARKS.test(word(property, "name"))) return [];
  return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
}
