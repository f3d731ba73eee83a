/** @module Mutants of locks: not taken, not released, taken only for reading. */

import { GIVERS, TAKERS, TRIERS, removal, statementCall, textOf } from "./names.mjs";
import { below, calleeName, callsBelow, child, functionAround, receiver } from "./syntax.mjs";

/**
 * @typedef {import("./syntax.mjs").Node} Node
 * @typedef {import("./syntax.mjs").Visited} Visited
 * @typedef {import("./names.mjs").Find} Find
 */

/**
 * Whether `call` takes or gives back something called `on`.
 *
 * @param {Node} call
 * @param {string} text
 * @param {string} on
 * @param {string} name
 */
function isOn(call, text, on, name) {
  return calleeName(call) === name && receiver(call, text) === on;
}

/**
 * A lock taken nowhere in its function: each take, each attempt and each giving back of the same
 * lock goes. Once for each lock and function.
 *
 * @type {Find}
 */
export function findLock(visited, text) {
  const call = statementCall(visited.node);
  if (call === undefined) return [];
  const giver = TAKERS.get(calleeName(call));
  if (giver === undefined) return [];
  const on = receiver(call, text);
  const own = functionAround(visited);
  if (own === undefined) return [];
  const body = child(own.node, "body");
  if (body === undefined) return [];
  const all = below({ node: body, parent: own, field: "body" });
  const statements = all.filter(({ node }) => {
    const other = statementCall(node);
    return (
      other !== undefined &&
      (isOn(other, text, on, calleeName(call)) || isOn(other, text, on, giver))
    );
  });
  if (statements[0]?.node !== visited.node) return [];
  const tries = all.filter(({ node }) => {
    const other = node.type === "YieldExpression" ? child(node, "argument") : undefined;
    return (
      other?.type === "CallExpression" &&
      TRIERS.get(calleeName(other)) === giver &&
      receiver(other, text) === on
    );
  });
  const edits = [
    ...statements.map(({ node }) => removal(node)),
    ...tries.map(({ node }) => ({ ...removal(node), text: "true" })),
  ];
  return [
    {
      at: visited.node,
      edits,
      what: `without ${textOf(visited.node, text)} and what gives it back`,
    },
  ];
}

/** @type {Find} */
export function findUnlock({ node }, text) {
  const call = statementCall(node);
  if (call === undefined || !GIVERS.has(calleeName(call))) return [];
  return [{ at: node, edits: [removal(node)], what: `${textOf(node, text)} is missing` }];
}

/** @type {Find} */
export function findWeaker(visited, text) {
  const call = statementCall(visited.node);
  if (call === undefined || calleeName(call) !== "downWrite") return [];
  const on = receiver(call, text);
  const body = child(functionAround(visited)?.node ?? visited.node, "body");
  if (body === undefined) return [];
  const calls = callsBelow({ node: body, parent: undefined, field: "" }).map(({ node }) => node);
  const own = calls.filter(
    (other) => isOn(other, text, on, "downWrite") || isOn(other, text, on, "upWrite"),
  );
  if (own[0] !== call || own.length < 2) return [];
  const edits = own.map((other) => {
    const name = child(child(other, "callee") ?? other, "property") ?? other;
    return {
      start: name.start,
      end: name.end,
      text: calleeName(other) === "downWrite" ? "downRead" : "upRead",
    };
  });
  return [{ at: visited.node, edits, what: `${on} for reading only` }];
}
