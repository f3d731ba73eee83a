/**
 * @module The order in which scenarios are tried on a mutant: first those that have noticed other
 * mutants in the same function, then in the same module; then those that declare that they run that
 * function or module; then the cheapest.
 */

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./survey.mjs").Witness} Witness
 *
 * @typedef {object} Covered
 * @property {{ readonly name: string }} scenario
 * @property {readonly { readonly name: string }[]} twins
 * @property {Readonly<Record<string, readonly string[]>>} runs
 */

/** Of a mutant that only a scenario's set-up reaches, it rarely has an opinion. */
const ONLY_PREPARED = 0.05;

/** @param {Pick<Mutant, "key">} mutant */
function functionOf({ key }) {
  return /^\S+/.exec(key)?.[0] ?? "";
}

/**
 * As scenarios say what they run: without the class of a method. @param {Pick<Mutant, "key">}
 * mutant
 */
function saidFunctionOf(mutant) {
  return functionOf(mutant).replace(/\.[^.]*(?=\.[^.]*$)/, "");
}

export class Likely {
  /**
   * Of each scenario: how often it has noticed something in a function or a module. @type
   * {Map<string, Map<string, number>>}
   */
  #noticed = new Map();
  /**
   * Of each scenario: the functions and modules that it says it runs. @type {Map<string,
   * Set<string>>}
   */
  #named = new Map();

  /** @param {readonly Covered[]} covered */
  constructor(covered) {
    for (const { scenario, runs } of covered) {
      const names = Object.values(runs).flat();
      this.#named.set(
        scenario.name,
        new Set([...names, ...names.map((name) => name.replace(/\.[^.]*$/, ""))]),
      );
    }
  }

  /**
   * @param {Mutant} mutant
   * @param {string} scenario
   */
  learn(mutant, scenario) {
    const counts = this.#noticed.get(scenario) ?? new Map();
    for (const part of [functionOf(mutant), mutant.module])
      counts.set(part, (counts.get(part) ?? 0) + 1);
    this.#noticed.set(scenario, counts);
  }

  /**
   * @param {Mutant} mutant
   * @param {readonly Witness[]} witnesses
   */
  inOrder(mutant, witnesses) {
    const scored = witnesses.map(({ name, seconds, reached }) => {
      const part = reached.includes(mutant.key) ? 1 : ONLY_PREPARED;
      return { name, score: (part * this.#score(mutant, name)) / (0.05 + seconds) };
    });
    return scored.toSorted((a, b) => b.score - a.score).map(({ name }) => name);
  }

  /**
   * @param {Mutant} mutant
   * @param {string} name
   */
  #score(mutant, name) {
    const noticed = this.#noticed.get(name);
    const named = this.#named.get(name);
    let score = 1;
    score += 40 * (noticed?.get(functionOf(mutant)) ?? 0) + 8 * (noticed?.get(mutant.module) ?? 0);
    if (named?.has(saidFunctionOf(mutant)) === true) score += 30;
    if (named?.has(mutant.module) === true) score += 10;
    return score;
  }
}
