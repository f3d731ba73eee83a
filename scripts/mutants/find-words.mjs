/** @module Mutants of single words: a compare-and-swap that does not compare, a store that is left out. */

import { CHANGES, MARKERS, MARKS, OWNING, STORES, SWAPS, removal, statementCall, textOf } from "./names.mjs";
import { calleeName, child, children, word } from "./syntax.mjs";

/**
 * @typedef {import("./syntax.mjs").Node} Node
 * @typedef {import("./syntax.mjs").Visited} Visited
 * @typedef {import("./names.mjs").Find} Find
 */

/** @type {Find} */
export function findSwap({ node }, text) {
  if (node.type !== "CallExpression" || !SWAPS.test(calleeName(node))) return [];
  const [words, index, expected, fresh] = children(node, "arguments").map((argument) => textOf(argument, text));
  const edit = { start: node.start, end: node.end, text: `(Atomics.store(${words}, ${index}, ${fresh}), ${expected})` };
  return [{ at: node, edits: [edit], what: `${textOf(node, text)} does not compare` }];
}

/** @type {Find} */
export function findMark({ node, parent }, text) {
  const call = statementCall(node);
  if (call !== undefined) {
    const name = calleeName(call);
    if (!STORES.test(name) && !CHANGES.test(name) && !MARKERS.test(name) && !OWNING.test(name)) return [];
    return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
  }
  if (node.type === "CallExpression" && CHANGES.test(calleeName(node)) && parent?.node.type !== "ExpressionStatement") {
    const [words, index] = children(node, "arguments").map((argument) => textOf(argument, text));
    return [
      {
        at: node,
        edits: [{ ...removal(node), text: `Atomics.load(${words}, ${index})` }],
        what: `${textOf(node, text)} changes nothing`,
      },
    ];
  }
  if (node.type !== "ExpressionStatement") return [];
  const expression = child(node, "expression");
  const target = expression === undefined ? undefined : (child(expression, "left") ?? child(expression, "argument"));
  if (!/^(AssignmentExpression|UpdateExpression)$/.test(expression?.type ?? "") || target?.type !== "MemberExpression")
    return [];
  const property = child(target, "property");
  if (property?.type !== "Identifier" || !MARKS.test(word(property, "name"))) return [];
  return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
}
