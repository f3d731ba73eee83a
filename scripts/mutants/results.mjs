/**
 * @module The stored results of mutants. A result is valid as long as the function of the mutant is
 * unchanged; if nothing noticed the mutant, also as long as the mutated file and the scenarios are.
 * The file is written often and as a whole, so a stopped run goes on.
 */

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { hasNoticed } from "./judge.mjs";
import { digestOf } from "./find.mjs";
import { buildPath } from "./lane.mjs";
import { keptPath, scenariosDigest } from "./survey.mjs";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./judge.mjs").Judgement} Judgement
 * @typedef {Judgement & { readonly digest: string, readonly silentIn: string }} Result
 */

const resultsPath = `${keptPath}results.json`;
const SAVE_MS = 3000;
const VERSION = 1;

export class Results {
  /** @type {Map<string, Result>} */
  #byKey = new Map();
  #savedMs = performance.now();
  /** @readonly */
  #scenarios = scenariosDigest();
  /** @type {Map<string, string>} */
  #files = new Map();

  constructor() {
    if (!existsSync(resultsPath)) return;
    const { version, results } = JSON.parse(readFileSync(resultsPath, "utf8"));
    if (version === VERSION) this.#byKey = new Map(Object.entries(results));
  }

  /**
   * What was found out about a mutant and still holds.
   *
   * @param {Mutant} mutant
   * @param {ReadonlySet<string>} scenarios The names that there are.
   * @returns {Judgement | undefined}
   */
  of(mutant, scenarios) {
    const result = this.#byKey.get(mutant.key);
    if (result === undefined || result.digest !== mutant.digest) return undefined;
    const isSilent = result.silentIn === this.#silentIn(mutant);
    const check = hasNoticed(result.check)
      ? scenarios.has(result.check.by) || result.check.by === ""
      : isSilent;
    if (!check) return undefined;
    return result;
  }

  /**
   * What was found out last, as long as the mutant is the same.
   *
   * @param {Mutant} mutant
   * @returns {Judgement | undefined}
   */
  last({ key, digest }) {
    const result = this.#byKey.get(key);
    return result?.digest === digest ? result : undefined;
  }

  /**
   * @param {Mutant} mutant
   * @param {Judgement} judgement
   */
  keep(mutant, judgement) {
    this.#byKey.set(mutant.key, {
      ...judgement,
      digest: mutant.digest,
      silentIn: this.#silentIn(mutant),
    });
    if (performance.now() - this.#savedMs > SAVE_MS) this.save();
  }

  save() {
    this.#savedMs = performance.now();
    mkdirSync(keptPath, { recursive: true });
    writeFileSync(
      `${resultsPath}.new`,
      JSON.stringify({ version: VERSION, results: Object.fromEntries(this.#byKey) }),
    );
    renameSync(`${resultsPath}.new`, resultsPath);
  }

  /**
   * Where a mutant was silent: in this text of its file, beside these scenarios.
   *
   * @param {Mutant} mutant
   */
  #silentIn({ path }) {
    const known = this.#files.get(path) ?? digestOf(readFileSync(`${buildPath}${path}`, "utf8"));
    this.#files.set(path, known);
    return `${known}-${this.#scenarios}`;
  }
}
