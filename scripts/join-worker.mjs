/**
 * @module Joins the modules that a device's Worker runs into one file beside its entry:
 * `device-worker.js` and all that it imports become `device-worker.joined.js`. A thread of Node
 * takes 0.5 ms to find, read and link each module, and there are 190; half of their text is
 * comments, which each thread would scan. Joined, a device of two threads is ready after 60 to
 * 90 ms where it took 200 to 250, and a page in a browser fetches one file and not 190.
 *
 *     let leafOf$12;              what module 12 exports
 *     {
 *       const wordAt = wordAt$7;  what it imports
 *       function leafOf() {}      its text, without comments
 *       leafOf$12 = leafOf;
 *     }
 *
 * A block is a scope, so no name has to be changed. Modules come in the order in which they would
 * run: no module imports itself through others, so what one imports has its value by then. Line
 * breaks stay, so the source map is those of the modules, one after the other.
 *
 * A module that only passes on what others export (src/driver-interface.ts) is not joined: of what
 * it passes on, only what is imported comes in.
 *
 * The stepped graph's file only imports the entry: whoever explores starts no Worker of a device
 * that has to be quick.
 *
 * `node scripts/join-worker.mjs dist .build`
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import { parseSync } from "oxc-parser";

/** @typedef {import("./stepping/module-facts.mjs").Node} Node */

const rootPath = fileURLToPath(new URL("../", import.meta.url));
const ENTRY = "src/devices/software/device-worker.js";
export const JOINED = "src/devices/software/device-worker.joined.js";
/** What stands in the file where the modules themselves are to run. */
export const SEPARATE = 'import "./device-worker.js";\n';

/**
 * @typedef {object} Module
 * @property {number} number
 * @property {string} path From the built root.
 * @property {string} text
 * @property {Node} program
 * @property {readonly Node[]} comments
 * @property {Map<string, string>} exports The joined file's name of each export.
 * @property {string[]} live Exports that change: they are declared outside, by their own name.
 */

/** @typedef {{ path: string, name: string }} Origin Where an export is declared. */

export class JoinedModules {
  /** In the order in which they run. @type {Module[]} */
  #modules = [];
  /** @type {Map<string, Module>} */
  #byPath = new Map();
  /** @type {Map<string, Map<string, Origin> | undefined>} Of modules that only pass on. */
  #passedOn = new Map();
  /** @type {(path: string) => string} */
  #read;

  /** @param {string} entry @param {(path: string) => string} read The text of a built module. */
  constructor(entry, read) {
    this.#read = read;
    this.#add(entry);
    const live = this.#modules.flatMap((module) => module.live);
    if (new Set(live).size < live.length)
      throw new Error(`two modules export one of ${live.join(", ")}`);
  }

  get paths() {
    return this.#modules.map((module) => module.path);
  }

  /** @returns {{ path: string, text: string }[]} The block of each module. */
  blocks() {
    return this.#modules.map((module) => ({ path: module.path, text: this.#blockOf(module) }));
  }

  /** @param {string} path @returns {Module} */
  #add(path) {
    const known = this.#byPath.get(path);
    if (known?.number === 0) throw new Error(`${path} imports itself through others`);
    if (known !== undefined) return known;
    const text = this.#read(path);
    const { program, comments, errors } = parseSync(path, text);
    if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message}`);
    /** @type {Module} */
    const module = {
      number: 0,
      path,
      text,
      program,
      comments,
      exports: new Map(),
      live: [],
    };
    this.#byPath.set(path, module);
    for (const { source, specifiers } of /** @type {any[]} */ (module.program["body"])) {
      if (!source) continue;
      const target = targetOf(path, source.value);
      const names = specifiers.map((/** @type {any} */ one) => (one.imported ?? one.local)?.name);
      if (names.length === 0) this.#add(target);
      for (const name of names) this.#add(this.#originOf(target, name).path);
    }
    module.number = this.#modules.push(module);
    for (const statement of module.program["body"]) this.#readExports(module, statement);
    return module;
  }

  /**
   * Where what the module at `path` exports as `name` is declared, as far as modules only pass it
   * on.
   *
   * @param {string} path @param {string} name @returns {Origin}
   */
  #originOf(path, name) {
    if (!this.#passedOn.has(path)) this.#passedOn.set(path, this.#readPassedOn(path));
    const next = this.#passedOn.get(path)?.get(name);
    return next === undefined ? { path, name } : this.#originOf(next.path, next.name);
  }

  /** Undefined for a module that does more than pass on. @param {string} path */
  #readPassedOn(path) {
    if (this.#byPath.has(path)) return undefined;
    /** @type {Map<string, Origin>} */
    const origins = new Map();
    for (const statement of /** @type {any[]} */ (parseSync(path, this.#read(path)).program.body)) {
      if (statement.type !== "ExportNamedDeclaration" || !statement.source) return undefined;
      const target = targetOf(path, statement.source.value);
      for (const { local, exported } of statement.specifiers)
        origins.set(exported.name, { path: target, name: local.name });
    }
    return origins;
  }

  /** @param {Module} module @param {Node} statement */
  #readExports(module, statement) {
    if (!statement.type.startsWith("Export")) return;
    if (statement.type !== "ExportNamedDeclaration")
      throw new Error(`${module.path}: only exports that have a name can be joined`);
    const { declaration, source, specifiers } = /** @type {any} */ (statement);
    for (const { local, exported } of specifiers) {
      const name = source
        ? this.#nameOf(targetOf(module.path, source.value), local.name)
        : `${exported.name}$${module.number}`;
      module.exports.set(exported.name, name);
    }
    const isLive = declaration?.type === "VariableDeclaration" && declaration.kind !== "const";
    for (const name of declaration ? declaredNames(module, declaration) : []) {
      if (isLive) module.live.push(name);
      module.exports.set(name, isLive ? name : `${name}$${module.number}`);
    }
  }

  /** The joined file's name of what the module at `path` exports. */
  /** @param {string} path @param {string} name */
  #nameOf(path, name) {
    const origin = this.#originOf(path, name);
    const joined = this.#byPath.get(origin.path)?.exports.get(origin.name);
    if (joined === undefined) throw new Error(`${path} exports no ${name}`);
    return joined;
  }

  /** @param {Module} module */
  #blockOf(module) {
    const { text, program, comments } = module;
    /** @type {{ start: number, end: number, text: string }[]} */
    const edits = [];
    const replace = (/** @type {number} */ start, /** @type {number} */ end) =>
      edits.push({ start, end, text: breaksOf(text.slice(start, end)) });
    /** @type {string[]} */
    const results = [];
    let imports = "";
    for (const statement of program["body"]) {
      if (statement.type === "ImportDeclaration") {
        imports += this.#importsOf(module, statement);
        replace(statement.start, statement.end);
      } else if (statement.type === "ExportNamedDeclaration" && statement.declaration) {
        const { declaration } = statement;
        const names = declaredNames(module, declaration);
        const isLive = names.some((name) => module.live.includes(name));
        const { start } = isLive ? declaration.declarations[0] : declaration;
        edits.push({
          start: statement.start,
          end: start,
          text: " ".repeat(start - statement.start),
        });
        if (!isLive) results.push(...names.map((name) => `${module.exports.get(name)} = ${name};`));
      } else if (statement.type === "ExportNamedDeclaration") {
        replace(statement.start, statement.end);
        if (statement.source) continue;
        for (const { local, exported } of statement.specifiers)
          results.push(`${module.exports.get(exported.name)} = ${local.name};`);
      }
    }
    for (const { start, end } of comments) {
      const isLast = /^[ \t]*(?:\n|$)/.test(text.slice(end));
      if (isLast) replace(start, end);
      else edits.push({ start, end, text: text.slice(start, end).replaceAll(/[^\n]/g, " ") });
    }
    const own = [...module.exports.values()].filter(
      (name) => module.live.includes(name) || name.endsWith(`$${module.number}`),
    );
    const head = own.length === 0 ? "" : `let ${own.join(", ")};`;
    return `${head}{${imports}${edited(text, edits)}${results.join(" ")}}\n`;
  }

  /** What the import is in the block. @param {Module} module @param {Node} statement */
  #importsOf(module, statement) {
    const target = targetOf(module.path, statement["source"].value);
    const names = [];
    for (const { type, local, imported } of statement["specifiers"]) {
      if (type !== "ImportSpecifier")
        throw new Error(`${module.path}: only imports by name can be joined`);
      const joined = this.#nameOf(target, imported.name);
      if (joined === local.name) continue;
      if (this.#modules.some(({ live }) => live.includes(joined)))
        throw new Error(`${module.path}: ${joined} changes; import it by its own name`);
      names.push(`${local.name} = ${joined}`);
    }
    return names.length === 0 ? "" : `const ${names.join(", ")};`;
  }
}

/** @param {string} path @param {string} specifier */
function targetOf(path, specifier) {
  if (!specifier.startsWith("."))
    throw new Error(`${path} imports ${specifier}: the Worker has only modules of this project`);
  return posix.join(posix.dirname(path), specifier);
}

/** @param {Module} module @param {any} declaration @returns {string[]} */
function declaredNames(module, declaration) {
  if (declaration.type !== "VariableDeclaration") return [declaration.id.name];
  return declaration.declarations.map((/** @type {any} */ { id }) => {
    if (id.type !== "Identifier") throw new Error(`${module.path} exports a pattern`);
    return id.name;
  });
}

/** @param {string} text */
function breaksOf(text) {
  return text.replaceAll(/[^\n]/g, "");
}

/** @param {string} text @param {{ start: number, end: number, text: string }[]} edits */
function edited(text, edits) {
  let result = "";
  let at = 0;
  for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
    // A comment inside what is replaced goes with it.
    if (edit.start < at) continue;
    result += text.slice(at, edit.start) + edit.text;
    at = edit.end;
  }
  return result + text.slice(at);
}

/** The joined file and its source map. @param {string} from The built root, with a slash. */
function join(from) {
  const blocks = new JoinedModules(ENTRY, (path) => readFileSync(from + path, "utf8")).blocks();
  let text = "";
  let line = 0;
  const sections = [];
  for (const block of blocks) {
    const map = JSON.parse(readFileSync(`${from}${block.path}.map`, "utf8"));
    const folder = posix.relative(posix.dirname(JOINED), posix.dirname(block.path));
    map.sources = map.sources.map((/** @type {string} */ source) => posix.join(folder, source));
    // The modules' own maps have the text.
    delete map.sourcesContent;
    sections.push({ offset: { line, column: 0 }, map });
    text += block.text;
    line += breaksOf(block.text).length;
  }
  const name = posix.basename(JOINED);
  writeFileSync(from + JOINED, `${text}//# sourceMappingURL=${name}.map\n`);
  writeFileSync(`${from}${JOINED}.map`, JSON.stringify({ version: 3, file: name, sections }));
  writeFileSync(`${from}stepped/${JOINED}`, SEPARATE);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const built of process.argv.slice(2)) {
    const from = `${rootPath}${built}/`;
    if (existsSync(from + ENTRY)) join(from);
  }
}
