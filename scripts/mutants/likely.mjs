/**
 * @module The order in which scenarios are tried on a mutant: first those that have noticed other
 * mutants in the same function, then in the same module; then those that declare that they run that
 * function or module; then the cheapest.
 */

import { moduleOf } from "./sayings.mjs";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./sayings.mjs").Sayings} Sayings
 * @typedef {import("./reached-by.mjs").Witness} Witness
 */

/** Of a mutant that only a scenario's set-up reaches, it rarely has an opinion. */
const ONLY_PREPARED = 0.05;
/** One that goes wrong as it is rarely notices that more is wrong. */
const TWIN = 0.1;
/** What one that said nothing of others in the function loses each time. */
const SILENT = 0.15;
/** Nothing is so cheap that it is tried before all others. */
const LEAST_SECONDS = 0.05;

/** @param {Pick<Mutant, "key">} mutant */
export function functionOf({ key }) {
  return /^\S+/.exec(key)?.[0] ?? "";
}

/**
 * As scenarios say what they run: without the class of a method.
 *
 * @param {Pick<Mutant, "key">} mutant
 */
function saidFunctionOf(mutant) {
  return functionOf(mutant).replace(/\.[^.]*(?=\.[^.]*$)/, "");
}

/**
 * How often, by scenario and by function or module.
 *
 * @param {Map<string, Map<string, number>>} counts
 * @param {string} scenario
 * @param {string} part
 */
function count(counts, scenario, part) {
  const own = counts.get(scenario) ?? new Map();
  own.set(part, (own.get(part) ?? 0) + 1);
  counts.set(scenario, own);
}

export class Likely {
  /** @type {Map<string, Map<string, number>>} */
  #noticed = new Map();
  /** @type {Map<string, Map<string, number>>} */
  #silent = new Map();
  /** What an exploration to the end took. @type {Map<string, number>} */
  #seconds = new Map();
  /**
   * Of each scenario: the functions and modules that it says it runs. @type {Map<string,
   * Set<string>>}
   */
  #named = new Map();
  /** @readonly */
  #twins;

  /** @param {Pick<Sayings, "covered" | "twins">} sayings */
  constructor({ covered, twins }) {
    this.#twins = twins;
    for (const { scenario, runs } of covered) {
      const names = Object.values(runs).flat();
      this.#named.set(scenario.name, new Set([...names, ...names.map(moduleOf)]));
    }
  }

  /**
   * A scenario has noticed a mutant.
   *
   * @param {Pick<Mutant, "key">} mutant
   * @param {string} scenario
   */
  learn(mutant, scenario) {
    const name = functionOf(mutant);
    for (const part of [name, moduleOf(name)]) count(this.#noticed, scenario, part);
  }

  /**
   * A scenario was explored to its end and has not noticed it.
   *
   * @param {Pick<Mutant, "key">} mutant
   * @param {string} scenario
   * @param {number} seconds
   */
  learnSilence(mutant, scenario, seconds) {
    count(this.#silent, scenario, functionOf(mutant));
    this.#seconds.set(scenario, seconds);
  }

  /**
   * @param {Mutant} mutant
   * @param {readonly Witness[]} witnesses
   */
  inOrder(mutant, witnesses) {
    const scored = witnesses.map(({ name, seconds, isPrepared }) => {
      const part = isPrepared ? ONLY_PREPARED : 1;
      const cost = LEAST_SECONDS + (this.#seconds.get(name) ?? seconds);
      return { name, score: (part * this.#score(mutant, name)) / cost };
    });
    return scored.toSorted((a, b) => b.score - a.score).map(({ name }) => name);
  }

  /**
   * @param {Mutant} mutant
   * @param {string} name
   */
  #score(mutant, name) {
    const own = functionOf(mutant);
    const noticed = this.#noticed.get(name);
    const named = this.#named.get(name);
    let score = this.#twins.has(name) ? TWIN : 1;
    score += 40 * (noticed?.get(own) ?? 0) + 8 * (noticed?.get(mutant.module) ?? 0);
    if (named?.has(saidFunctionOf(mutant)) === true) score += 30;
    if (named?.has(mutant.module) === true) score += 10;
    return score / (1 + SILENT * (this.#silent.get(name)?.get(own) ?? 0));
  }
}
