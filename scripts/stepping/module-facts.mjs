/**
 * @module What the derivation must know of each built module before it rewrites one: which
 * functions and methods have the doc tag `@stepped` or `@spelled`, and what each import refers to.
 */

import { parseSync } from "oxc-parser";
import { posix } from "node:path";

/**
 * @typedef {{ type: string, start: number, end: number, [key: string]: any }} Node
 * @typedef {object} ModuleFacts
 * @property {string} path From the built root, with `/`: `src/mmu/radix-table.js`.
 * @property {string} text
 * @property {Node} program
 * @property {Map<string, { module: string, name: string }>} imports By local name, and by that of a
 *   constant of the top level that stands for an import.
 * @property {Map<string, { module: string, name: string }>} reexports By exported name.
 * @property {Map<string, Mark>} functions Marked functions of the module's top level, generators
 *   too.
 * @property {Map<string, Mark>} plainFunctions Those of them that are no generators, and so have a
 *   second form.
 * @property {Map<number, Mark>} methods Marked methods, by where they begin.
 * @property {Map<string, boolean>} methodNames Names of the marked plain methods that are not
 *   private; true: only spelled ones.
 * @property {Set<string>} privateNames Private names of the marked plain methods (`#name`).
 *
 * @typedef {{ label: string, isSpelled: boolean }} Mark
 */

const tag = /@(stepped|spelled)\b(?:[ \t]+([^\n*]+))?/;

/**
 * @param {string} path
 * @param {string} text
 * @returns {ModuleFacts}
 */
export function factsOf(path, text) {
  const { program, comments, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message}`);
  /** @type {ModuleFacts} */
  const facts = {
    path,
    text,
    program,
    imports: new Map(),
    reexports: new Map(),
    functions: new Map(),
    plainFunctions: new Map(),
    methods: new Map(),
    methodNames: new Map(),
    privateNames: new Set(),
  };
  /** The tag of the doc comment that ends right before `start`, if there is one. */
  const markAt = (/** @type {number} */ start, /** @type {string} */ name) => {
    const comment = comments.findLast(({ end }) => end <= start);
    if (comment === undefined || !/^\s*$/.test(text.slice(comment.end, start))) return undefined;
    const found = tag.exec(comment.value);
    return found === null
      ? undefined
      : { label: found[2]?.trim() || name, isSpelled: found[1] === "spelled" };
  };
  for (const statement of facts.program["body"]) readStatement(facts, statement, markAt);
  return facts;
}

/**
 * @param {ModuleFacts} facts
 * @param {Node} statement
 * @param {(start: number, name: string) => Mark | undefined} markAt
 */
function readStatement(facts, statement, markAt) {
  if (statement.type === "ImportDeclaration") {
    const module = posix.join(posix.dirname(facts.path), statement["source"].value);
    for (const specifier of statement["specifiers"]) {
      if (specifier.type !== "ImportSpecifier") continue;
      facts.imports.set(specifier.local.name, { module, name: specifier.imported.name });
    }
    return;
  }
  if (statement.type === "ExportNamedDeclaration" && statement["source"] !== null) {
    const module = posix.join(posix.dirname(facts.path), statement["source"].value);
    for (const { exported, local } of statement["specifiers"])
      facts.reexports.set(exported.name, { module, name: local.name });
    return;
  }
  const isExport =
    statement.type === "ExportNamedDeclaration" || statement.type === "ExportDefaultDeclaration";
  const declaration = isExport ? statement["declaration"] : statement;
  if (declaration?.type === "FunctionDeclaration") {
    const mark = markAt(statement.start, declaration.id.name);
    if (mark === undefined) return;
    facts.functions.set(declaration.id.name, mark);
    if (!declaration.generator) facts.plainFunctions.set(declaration.id.name, mark);
  } else if (declaration?.type === "ClassDeclaration") {
    for (const member of declaration.body.body) readMember(facts, member, markAt);
  } else if (declaration?.type === "VariableDeclaration" && declaration.kind === "const") {
    // `const peek = speculativeLoad;`: another name of what was imported.
    for (const { id, init } of declaration.declarations) {
      const origin = init?.type === "Identifier" ? facts.imports.get(init.name) : undefined;
      if (origin !== undefined) facts.imports.set(id.name, origin);
    }
  }
}

/**
 * @param {ModuleFacts} facts
 * @param {Node} member
 * @param {(start: number, name: string) => Mark | undefined} markAt
 */
function readMember(facts, member, markAt) {
  if (member.type !== "MethodDefinition") return;
  const { key, kind, computed, value } = /** @type {any} */ (member);
  const isPrivate = key.type === "PrivateIdentifier";
  // A stepping form written by hand, of a method that is no more than another way to run a task.
  if (!isPrivate && key.name?.endsWith("$steps"))
    facts.methodNames.set(key.name.slice(0, -"$steps".length), false);
  const mark = markAt(member.start, key.name ?? "");
  if (mark === undefined) return;
  if (computed || kind !== "method")
    throw new Error(`${facts.path}: @stepped is for functions and plain methods`);
  facts.methods.set(member.start, mark);
  if (value.generator) return;
  if (isPrivate) facts.privateNames.add(key.name);
  else facts.methodNames.set(key.name, mark.isSpelled && facts.methodNames.get(key.name) !== false);
}
