/**
 * @module The record of what was found out about the mutants: a file for each layer, committed, one
 * line a mutant, in order. It is written often and as a whole, so a stopped run goes on.
 *
 * What was noticed holds as long as the function of the mutant is unchanged and the scenario
 * exists. What nobody noticed holds, beside that, as long as the mutated file is unchanged, and the
 * scenarios that say that they run something of that file. What does not hold is stale.
 */

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { LAYERS, digestOf } from "./find.mjs";
import { hasNoticed } from "./judge.mjs";
import { buildPath } from "./lane.mjs";
import { knownOf, lineOf } from "./record-line.mjs";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./judge.mjs").Judgement} Judgement
 * @typedef {import("./record-line.mjs").Known} Known
 * @typedef {import("./sayings.mjs").Sayings} Sayings
 */

/**
 * "new": it was never tried. "changed": its function was another one, or who noticed it is gone.
 * "doubtful": nobody noticed it, and what that depends on has changed.
 *
 * @typedef {"holds" | "new" | "changed" | "doubtful"} Standing
 */

const RECORD = fileURLToPath(new URL("./record/", import.meta.url));
const SAVE_MS = 3000;
const BESIDE_LENGTH = 8;

/** @param {{ readonly key: string }} mutant */
const layerOf = ({ key }) => key.slice(0, key.indexOf("/"));

export class Results {
  /** @type {Map<string, Known>} */
  #byKey = new Map();
  #savedMs = performance.now();
  /** Those whose file is behind: the others may be another run's. @type {Set<string>} */
  #behind = new Set();
  /** @readonly */
  #folder;
  /** @readonly */
  #sayings;
  /** @type {Map<string, string>} */
  #beside = new Map();
  /** @readonly */
  #keys;

  /**
   * @param {readonly Mutant[]} all All that there are: what is recorded of others is forgotten.
   * @param {Sayings} sayings
   * @param {string} [folder] With a slash at its end.
   */
  constructor(all, sayings, folder = RECORD) {
    this.#folder = folder;
    this.#sayings = sayings;
    this.#keys = new Set(all.map(({ key }) => key));
    for (const layer of LAYERS) this.#read(`${folder}${layer}.json`);
  }

  /** @param {string} path */
  #read(path) {
    if (!existsSync(path)) return;
    for (const [key, line] of Object.entries(JSON.parse(readFileSync(path, "utf8")))) {
      const known = knownOf(line);
      if (known === undefined) throw new Error(`Cannot read ${path}: no result is ${line}`);
      if (this.#keys.has(key)) this.#byKey.set(key, known);
      else this.#behind.add(layerOf({ key })); // it is forgotten by the next save
    }
  }

  /**
   * @param {Mutant} mutant
   * @returns {Standing}
   */
  standing(mutant) {
    const known = this.#byKey.get(mutant.key);
    if (known === undefined) return "new";
    const { check } = known.judgement;
    if (known.digest !== mutant.digest) return "changed";
    if (hasNoticed(check)) return this.#sayings.digests.has(check.by) ? "holds" : "changed";
    return known.beside === this.#besideOf(mutant) ? "holds" : "doubtful";
  }

  /**
   * What was found out last, as long as the mutant is the same and who noticed it is there.
   *
   * @param {Mutant} mutant
   * @returns {Judgement | undefined}
   */
  of(mutant) {
    const standing = this.standing(mutant);
    const isSame = standing === "holds" || standing === "doubtful";
    return isSame ? this.#byKey.get(mutant.key)?.judgement : undefined;
  }

  /**
   * The scenario that noticed it last, also if its function was another one.
   *
   * @param {Mutant} mutant
   */
  noticer({ key }) {
    return this.#byKey.get(key)?.judgement.check.by ?? "";
  }

  /** Every mutant that some scenario noticed, with its name. */
  get noticers() {
    return [...this.#byKey].flatMap(([key, { judgement }]) =>
      hasNoticed(judgement.check) ? [{ key, by: judgement.check.by }] : [],
    );
  }

  /**
   * @param {Mutant} mutant
   * @param {Judgement} judgement
   */
  keep(mutant, judgement) {
    const beside = hasNoticed(judgement.check) ? "" : this.#besideOf(mutant);
    const date = new Date().toISOString().slice(0, 10);
    this.#byKey.set(mutant.key, { digest: mutant.digest, date, beside, judgement });
    this.#behind.add(layerOf(mutant));
    if (performance.now() - this.#savedMs > SAVE_MS) this.save();
  }

  save() {
    this.#savedMs = performance.now();
    mkdirSync(this.#folder, { recursive: true });
    const lines = [...this.#byKey].toSorted(([a], [b]) => (a < b ? -1 : 1));
    for (const layer of this.#behind) {
      const own = lines.filter(([key]) => layerOf({ key }) === layer);
      const object = Object.fromEntries(own.map(([key, known]) => [key, lineOf(known)]));
      const path = `${this.#folder}${layer}.json`;
      writeFileSync(`${path}.new`, `${JSON.stringify(object, undefined, 2)}\n`);
      renameSync(`${path}.new`, path);
    }
    this.#behind.clear();
  }

  /** @param {Mutant} mutant */
  #besideOf({ path, module }) {
    const known = this.#beside.get(module);
    if (known !== undefined) return known;
    const text = readFileSync(`${buildPath}${path}`, "utf8");
    const digest = digestOf(`${text}\n${this.#sayings.digestFor(module)}`).slice(0, BESIDE_LENGTH);
    this.#beside.set(module, digest);
    return digest;
  }
}

/**
 * How many of some mutants were tried, and how much of that holds.
 *
 * @param {readonly Mutant[]} mutants
 * @param {Results} results
 */
export function standingsOf(mutants, results) {
  const counts = { holds: 0, new: 0, changed: 0, doubtful: 0 };
  for (const mutant of mutants) counts[results.standing(mutant)]++;
  return counts;
}
