/**
 * @module Which scenarios and tests reach a mutant, as a survey says. A survey may be older than
 * the code: who reaches a statement that it does not know is who reaches another one of the
 * function, or of the module.
 */

import { functionOf } from "./likely.mjs";
import { moduleOf } from "./sayings.mjs";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./survey.mjs").Survey} Survey
 * @typedef {import("./survey.mjs").TestWitness} TestWitness
 *
 * @typedef {object} Witness
 * @property {string} name
 * @property {number} seconds
 * @property {boolean} isPrepared Only its set-up reaches the mutant.
 */

export class ReachedBy {
  /** @readonly */
  #survey;
  /** @readonly */
  #known;
  /** By key, function and module. @type {Map<string, Map<string, Witness>>} */
  #scenarios = new Map();

  /** @param {Survey} survey */
  constructor(survey) {
    this.#survey = survey;
    this.#known = new Set(survey.keys);
    for (const { name, seconds, reached, prepared } of survey.scenarios) {
      for (const key of reached) this.#add(key, { name, seconds, isPrepared: false });
      for (const key of prepared) this.#add(key, { name, seconds, isPrepared: true });
    }
  }

  /**
   * @param {string} key
   * @param {Witness} witness
   */
  #add(key, witness) {
    const own = functionOf({ key });
    for (const part of [key, own, moduleOf(own)]) {
      const known = this.#scenarios.get(part) ?? new Map();
      if (known.get(witness.name)?.isPrepared !== false) known.set(witness.name, witness);
      this.#scenarios.set(part, known);
    }
  }

  /** @param {Pick<Mutant, "key" | "module">} mutant */
  scenariosOf(mutant) {
    const { key, module } = mutant;
    // Of a key that the survey does not know, the scenarios that were looked at since have told.
    const parts = this.#known.has(key) ? [key] : [functionOf(mutant), module];
    const found = parts.find((part) => this.#scenarios.has(part));
    return [...(this.#scenarios.get(found ?? key)?.values() ?? [])];
  }

  /** @param {Pick<Mutant, "key">} mutant */
  testsOf(mutant) {
    const own = functionOf(mutant);
    return this.#survey.tests.filter(({ passes, functions }) => passes && functions.includes(own));
  }
}
