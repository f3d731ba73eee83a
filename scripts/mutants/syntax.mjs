/**
 * @module What the kinds of mutants need of a syntax tree: a walk with parents, calls seen through
 * `yield*`, texts, the enclosing function. It works on the built JavaScript, which is the source
 * without its types, line by line.
 */

import { parseSync } from "oxc-parser";

/**
 * A node as the parser gives it; which fields there are depends on `type`.
 *
 * @typedef {{ type: string, start: number, end: number, [field: string]: unknown }} Node
 * @typedef {{ node: Node, parent: Visited | undefined, field: string }} Visited
 */

/**
 * @param {unknown} value
 * @returns {value is Node}
 */
function isNode(value) {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}

/**
 * @param {Node} node
 * @param {string} field
 * @returns {Node | undefined}
 */
export function child(node, field) {
  const value = node[field];
  return isNode(value) ? value : undefined;
}

/**
 * @param {Node} node
 * @param {string} field
 * @returns {Node[]}
 */
export function children(node, field) {
  const value = node[field];
  return Array.isArray(value) ? value.filter(isNode) : [];
}

/**
 * @param {Node} node
 * @param {string} field
 */
export function word(node, field) {
  const value = node[field];
  return typeof value === "string" ? value : "";
}

/**
 * Every node below `root`, outer ones first, in the order of the text.
 *
 * @param {Visited} root
 * @returns {Generator<Visited>}
 */
export function* walk(root) {
  yield root;
  for (const [field, value] of Object.entries(root.node)) {
    for (const next of Array.isArray(value) ? value : [value]) {
      if (isNode(next)) yield* walk({ node: next, parent: root, field });
    }
  }
}

/**
 * @param {string} name For messages.
 * @param {string} text
 * @returns {Visited}
 */
export function parse(name, text) {
  const { program, errors } = parseSync("a.js", text);
  if (errors[0] !== undefined) throw new SyntaxError(`${name}: ${errors[0].message}`);
  return {
    node: /** @type {Node} */ (/** @type {unknown} */ (program)),
    parent: undefined,
    field: "",
  };
}

const FUNCTIONS = /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;

/** @param {Node} node */
export function isFunction(node) {
  return FUNCTIONS.test(node.type);
}

/**
 * The innermost function around a node.
 *
 * @param {Visited} visited
 * @returns {Visited | undefined}
 */
export function functionAround({ parent }) {
  let at = parent;
  while (at !== undefined && !isFunction(at.node)) at = at.parent;
  return at;
}

/**
 * What people call the function around a node: `zapRange`, `Shootdown.flush`, and the outer one's
 * name for one that has none.
 *
 * @param {Visited} visited
 * @returns {string}
 */
export function functionName(visited) {
  const at = functionAround(visited);
  if (at === undefined) return "module";
  const own = child(at.node, "id");
  const { parent } = at;
  const holder =
    parent === undefined ? undefined : (child(parent.node, "key") ?? child(parent.node, "id"));
  const name =
    own ??
    (/^(MethodDefinition|VariableDeclarator|Property)$/.test(parent?.node.type ?? "")
      ? holder
      : undefined);
  if (name === undefined) return functionName(at);
  if (parent?.node.type !== "MethodDefinition") return word(name, "name");
  const owner = parent.parent?.parent?.node;
  const ownerName = owner === undefined ? undefined : child(owner, "id");
  const member = `${name.type === "PrivateIdentifier" ? "#" : ""}${word(name, "name")}`;
  return ownerName === undefined ? member : `${word(ownerName, "name")}.${member}`;
}

/**
 * A call seen through parentheses, `yield*`, `await` and `!`.
 *
 * @param {Node | undefined} node
 * @returns {Node | undefined}
 */
export function callIn(node) {
  if (node === undefined) return undefined;
  if (node.type === "CallExpression") return node;
  if (
    !/^(ParenthesizedExpression|YieldExpression|AwaitExpression|UnaryExpression|ChainExpression)$/.test(
      node.type,
    )
  )
    return undefined;
  return callIn(child(node, "expression") ?? child(node, "argument"));
}

/**
 * The last name of what is called: `flush` of `mm.shootdown.flush(a, b)`, `mmput` of `mmput(mm)`.
 *
 * @param {Node} call
 */
export function calleeName(call) {
  const callee = child(call, "callee");
  if (callee === undefined) return "";
  const property = callee.type === "MemberExpression" ? child(callee, "property") : callee;
  return property === undefined ? "" : word(property, "name");
}

/**
 * What the method is called on, as text; "" for a plain function.
 *
 * @param {Node} call
 * @param {string} text
 */
export function receiver(call, text) {
  const callee = child(call, "callee");
  const object = callee?.type === "MemberExpression" ? child(callee, "object") : undefined;
  return object === undefined ? "" : text.slice(object.start, object.end);
}

/**
 * The calls in a statement or expression, functions inside it left out.
 *
 * @param {Visited} visited
 * @returns {Visited[]}
 */
export function callsBelow(visited) {
  return below(visited).filter(({ node }) => node.type === "CallExpression");
}

/**
 * All nodes in a statement or expression, functions inside it left out.
 *
 * @param {Visited} root
 * @returns {Visited[]}
 */
export function below(root) {
  /** @type {Visited[]} */
  const found = [];
  /** @param {Visited} at */
  const visit = (at) => {
    found.push(at);
    for (const [field, value] of Object.entries(at.node)) {
      for (const next of Array.isArray(value) ? value : [value]) {
        if (isNode(next) && !isFunction(next)) visit({ node: next, parent: at, field });
      }
    }
  };
  visit(root);
  return found;
}

/**
 * One line of text for people and keys.
 *
 * @param {string} text
 */
export function oneLine(text) {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, "")
    .replaceAll(/\s+/g, " ")
    .trim();
}
