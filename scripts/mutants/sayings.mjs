/**
 * @module What the scenarios say of themselves: their names, which functions of src/ their tasks
 * are there for, and a digest of each one's code, so that a change of it is seen.
 */

import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { digestOf } from "./find.mjs";
import { buildPath } from "./lane.mjs";

/**
 * @typedef {object} Covered
 * @property {{ readonly name: string }} scenario
 * @property {readonly { readonly name: string }[]} twins
 * @property {Readonly<Record<string, readonly string[]>>} runs
 */

const SCENARIOS = `${buildPath}stepped/command/scenarios/`;
const IMPORT = /\bfrom "(\.[^"]+)"/g;

/** @param {string} name `mm/entries/zap.clearLeaf` */
export const moduleOf = (name) => name.replace(/\..*$/s, "");

/**
 * @typedef {object} Named
 * @property {string} name
 * @property {string | undefined} expects What a twin that goes wrong must show.
 *
 * @typedef {Named & { readonly digest: string }} Located
 */

export class Sayings {
  /** @readonly */
  covered;
  /** The digests of all that ship, by name. @readonly */
  digests;
  /** Of those that show what goes wrong: they expect a finding. @readonly */
  twins;
  /** By module of src/, of the scenarios that run something of it: name and digest. @readonly */
  #byModule;

  /**
   * @param {readonly Covered[]} covered
   * @param {readonly Located[]} scenarios
   */
  constructor(covered, scenarios) {
    this.covered = covered;
    this.digests = new Map(scenarios.map(({ name, digest }) => [name, digest]));
    const twins = scenarios.filter(({ expects }) => expects !== undefined);
    this.twins = new Set(twins.map(({ name }) => name));
    /** @type {Map<string, string[]>} */
    const byModule = new Map();
    for (const { scenario, runs } of covered) {
      for (const module of new Set(Object.values(runs).flat().map(moduleOf))) {
        const line = `${scenario.name} ${this.digests.get(scenario.name) ?? ""}`;
        byModule.set(module, [...(byModule.get(module) ?? []), line]);
      }
    }
    this.#byModule = byModule;
  }

  /**
   * Of the scenarios that say that they run something of a module.
   *
   * @param {string} module
   */
  digestFor(module) {
    return digestOf((this.#byModule.get(module) ?? []).toSorted().join("\n"));
  }
}

/** Modules that only collect what others declare. */
const COLLECTS = /(^|\/)(all|list|covered-list)\.js$/;
/** A module, its list, what a scenario covers, its twins, one of them. */
const DEPTH = 4;

/** Those of the build that is here. */
export async function readSayings() {
  const { scenarios } = await import(pathToFileURL(`${SCENARIOS}all.js`).href);
  const { covered } = await import(pathToFileURL(`${SCENARIOS}coverage/covered-list.js`).href);
  const names = new Set(scenarios.map((/** @type {Named} */ { name }) => name));
  /** @type {Map<unknown, string>} By name: a list may make what ships of what is exported. */
  const digests = new Map();
  for (const path of readdirSync(SCENARIOS, { recursive: true, encoding: "utf8" })) {
    if (!path.endsWith(".js") || COLLECTS.test(path)) continue;
    const file = `${SCENARIOS}${path}`;
    const visit = (/** @type {unknown} */ value, /** @type {number} */ depth) => {
      if (typeof value !== "object" || value === null || depth > DEPTH) return;
      const name = "name" in value && "tasks" in value ? value.name : undefined;
      if (names.has(name)) digests.set(name, digestOfCode(file));
      else for (const part of Object.values(value)) visit(part, depth + 1);
    };
    visit({ ...(await import(pathToFileURL(file).href)) }, 0);
  }
  const located = scenarios.map((/** @type {Named} */ scenario) => {
    const digest = digests.get(scenario.name);
    if (digest !== undefined) return { ...scenario, digest };
    throw new Error(`Cannot find the module that exports the scenario ${scenario.name}`);
  });
  return new Sayings(covered, located);
}

/** @type {Map<string, string>} */
const codeDigests = new Map();

/**
 * Of a module of the scenarios and of those that it imports.
 *
 * @param {string} file
 */
function digestOfCode(file) {
  const known = codeDigests.get(file);
  if (known !== undefined) return known;
  /** @type {Set<string>} */
  const files = new Set();
  const visit = (/** @type {string} */ path) => {
    if (files.has(path) || !path.startsWith(SCENARIOS)) return;
    files.add(path);
    for (const [, target = ""] of readFileSync(path, "utf8").matchAll(IMPORT))
      visit(join(dirname(path), target));
  };
  visit(file);
  const digest = digestOf([...files].map((path) => readFileSync(path, "utf8")).join("\n"));
  codeDigests.set(file, digest);
  return digest;
}
