/**
 * @module The content of the derived graph of modules: which built modules it has, which of them
 * are rewritten, and the rewritten text of each. It does not know where the graph is written.
 */

import { readFileSync, readdirSync } from "node:fs";
import { posix } from "node:path";
import { factsOf } from "./module-facts.mjs";
import { rewrite } from "./rewrite.mjs";

/** @typedef {import("./module-facts.mjs").ModuleFacts} ModuleFacts */
/** @typedef {import("./rewrite.mjs").Piece} Piece */

/** Of what is built, what the stepped graph has. */
const copied = /^(?:src|command|test|bench)\/.*(?<!\.joined)\.js$/;
/** Whose functions may be marked and are rewritten: the layers below the checker. */
const derived =
  /^src\/(?:(?:sync|memory|mmu|mm|notifier|hmm|host|space|devices)\/|driver-interface\.js$)/;
const RUNTIME = "src/sync/runners/stepping.js";
/** What it is made of. No stepping form is derived of that. */
const forms = /^src\/sync\/runners\/stepping(?:\/|\.js$)/;

export class SteppedGraph {
  /** Every module of the graph, from the built root. @type {readonly string[]} */
  paths;
  /** @type {Map<string, ModuleFacts>} */
  #modules;
  /** @type {import("./rewrite.mjs").Marked} */
  #marked;

  /** @param {string} from The built root, with a slash at its end. */
  constructor(from) {
    const all = readdirSync(from, { recursive: true, encoding: "utf8" });
    this.paths = all.map((path) => path.replaceAll("\\", "/")).filter((path) => copied.test(path));
    const facts = this.paths
      .filter((path) => derived.test(path))
      .map(
        (path) =>
          /** @type {const} */ ([path, factsOf(path, readFileSync(`${from}${path}`, "utf8"))]),
      );
    this.#modules = new Map(facts);
    for (const module of this.#modules.values()) this.#followImports(module);
    const stepped = methodNames(this.#modules.values(), (isSpelled) => !isSpelled);
    const spelled = methodNames(this.#modules.values(), (isSpelled) => isSpelled);
    // A method is called by its name alone, so that a name could not mean both.
    const ambiguous = [...stepped].filter((name) => spelled.has(name));
    if (ambiguous.length > 0) {
      throw new Error(`@stepped and @spelled methods have the same name: ${ambiguous.join(", ")}`);
    }
    this.#marked = {
      ofFunction: (module, name) => this.#modules.get(module)?.plainFunctions.get(name),
      isStepped: (name) => stepped.has(name),
      isSpelled: (name) => spelled.has(name),
    };
  }

  /**
   * The module as the graph has it; undefined where it is as it was built.
   *
   * @param {string} path
   * @param {string} [text] Instead of what was built: its marked functions must be the same ones.
   * @returns {Piece[] | undefined}
   */
  piecesOf(path, text) {
    const known = this.#modules.get(path);
    if (known === undefined || forms.test(path)) return undefined;
    const facts = text === undefined ? known : factsOf(path, text);
    if (facts !== known) this.#followImports(facts);
    return rewrite(facts, this.#marked, relativeTo(path, RUNTIME));
  }

  /**
   * What is imported from a module that only passes it on comes from where it is declared.
   *
   * @param {ModuleFacts} facts
   */
  #followImports({ imports }) {
    for (const [local, first] of imports) {
      let origin = first;
      for (;;) {
        const passedOn = this.#modules.get(origin.module)?.reexports.get(origin.name);
        if (passedOn === undefined) break;
        origin = passedOn;
      }
      imports.set(local, origin);
    }
  }
}

/**
 * @param {Iterable<ModuleFacts>} modules
 * @param {(isSpelled: boolean) => boolean} isWanted
 */
function methodNames(modules, isWanted) {
  const names = [...modules].flatMap((facts) => [...facts.methodNames]);
  return new Set(names.filter(([, isSpelled]) => isWanted(isSpelled)).map(([name]) => name));
}

/** @param {string} path @param {string} target */
function relativeTo(path, target) {
  const relative = posix.relative(posix.dirname(path), target);
  return relative.startsWith(".") ? relative : `./${relative}`;
}
