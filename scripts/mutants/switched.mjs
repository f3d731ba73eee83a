/**
 * @module All mutants of a module in one text: each function that has some looks at its beginning
 * which of them is chosen. So one process that has loaded the text once can try them all.
 */

import { applyEdits } from "./find.mjs";
import { child, isFunction, parse, walk } from "./syntax.mjs";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./names.mjs").Edit} Edit
 * @typedef {import("./syntax.mjs").Node} Node
 *
 * @typedef {object} Switched
 * @property {string} text
 * @property {readonly string[]} keys Number `i + 1` chooses the mutant `keys[i]`; 0 chooses none.
 *
 * A function's body, the mutants that it begins with, and those bodies inside it that have some.
 * @typedef {object} Body
 * @property {Node} node
 * @property {{ readonly number: number, readonly edits: readonly Edit[] }[]} mutants
 * @property {Body[]} inner
 */

/** What the text exports to choose by: takes a number. */
export const CHOOSE = "chooseMutant$";
const CHOSEN = "chosenMutant$";

/**
 * Those that change more than the body of one function are left out, and must be tried alone.
 *
 * @param {string} module For messages.
 * @param {string} text Built.
 * @param {readonly Pick<Mutant, "key" | "edits">[]} mutants Of this module.
 * @returns {Switched}
 */
export function switched(module, text, mutants) {
  const bodies = bodiesOf(module, text);
  /** @type {string[]} */
  const keys = [];
  for (const { key, edits } of mutants) {
    // Inner functions come after those around them.
    const own = bodies.findLast(({ node }) => edits.every((edit) => isInside(edit, node)));
    if (own === undefined) continue;
    keys.push(key);
    own.mutants.push({ number: keys.length, edits });
  }
  const head = `let ${CHOSEN} = 0; export function ${CHOOSE}(number) { ${CHOSEN} = number; }\n`;
  const outer = nested(bodies.filter((body) => body.mutants.length > 0));
  return { text: head + applyEdits(text, outer.map(editOf(text))), keys };
}

/**
 * @param {{ readonly start: number, readonly end: number }} one
 * @param {{ readonly start: number, readonly end: number }} other
 */
function isInside(one, other) {
  return other.start <= one.start && one.end <= other.end;
}

/**
 * The bodies of all functions, outer ones first.
 *
 * @param {string} module
 * @param {string} text
 * @returns {Body[]}
 */
function bodiesOf(module, text) {
  return [...walk(parse(module, text))].flatMap(({ node }) => {
    const body = isFunction(node) ? child(node, "body") : undefined;
    const isBlock = body?.type === "BlockStatement" || body?.type === "FunctionBody";
    return body !== undefined && isBlock ? [{ node: body, mutants: [], inner: [] }] : [];
  });
}

/**
 * The outermost ones; each of the others is put into the innermost one around it.
 *
 * @param {readonly Body[]} bodies Outer ones first.
 */
function nested(bodies) {
  return bodies.filter((body, i) => {
    const around = bodies.findLast(
      (other, j) => j < i && other !== body && isInside(body.node, other.node),
    );
    around?.inner.push(body);
    return around === undefined;
  });
}

/**
 * What replaces a body: `{ if (it is 3) {...} else if (it is 4) {...} else {as it was} }`.
 *
 * @param {string} text
 * @returns {(body: Body) => Edit}
 */
function editOf(text) {
  return ({ node, mutants, inner }) => {
    const changed = (/** @type {readonly Edit[]} */ edits) => {
      const moved = edits.map((edit) => ({
        ...edit,
        start: edit.start - node.start,
        end: edit.end - node.start,
      }));
      return applyEdits(text.slice(node.start, node.end), moved);
    };
    const choices = mutants.map(
      ({ number, edits }) => `if (${CHOSEN} === ${number}) ${changed(edits)} else`,
    );
    const asItWas = changed(inner.map(editOf(text)));
    return { start: node.start, end: node.end, text: `{ ${choices.join(" ")} ${asItWas} }` };
  };
}
