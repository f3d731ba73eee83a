/**
 * @module Explores scenarios on the mutants of one module, in a process that has loaded it with all
 * of them. The process is started anew after a mutant that made it hang or end.
 */

import { Explorer } from "./processes.mjs";
import { switched } from "./switched.mjs";

/**
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./lane.mjs").Lane} Lane
 * @typedef {import("./explore-child.mjs").ExploreOrder} ExploreOrder
 * @typedef {Pick<ExploreOrder, "seconds" | "scenarioSeconds">} Budget
 */

/** Of processor time, for one scenario or all of them. */
export class Examiner {
  /** @readonly */
  #lane;
  /** @readonly */
  #path;
  /** @readonly */
  #switched;
  /** @readonly */
  #standstillSeconds;
  /** @type {Explorer | undefined} */
  #explorer;
  /** The mutant that the module has instead of all: one that cannot be chosen among others. */
  #alone = "";

  /**
   * @param {Lane} lane
   * @param {string} path Of the built module.
   * @param {readonly Mutant[]} mutants Of this module.
   * @param {number} [standstillSeconds]
   */
  constructor(lane, path, mutants, standstillSeconds) {
    this.#lane = lane;
    this.#path = path;
    this.#switched = switched(path, lane.builtText(path), mutants);
    this.#standstillSeconds = standstillSeconds;
  }

  /**
   * Explores scenarios until the first surprise.
   *
   * @param {Mutant | undefined} mutant None: the module as it was built.
   * @param {readonly string[]} scenarios
   * @param {Budget} budget
   */
  async ask(mutant, scenarios, { seconds, scenarioSeconds }) {
    const number = mutant === undefined ? 0 : this.#switched.keys.indexOf(mutant.key) + 1;
    const explorer = this.#load(number === 0 ? mutant : undefined);
    return await explorer.explore({ number, scenarios, seconds, scenarioSeconds });
  }

  /** The next question is asked in a new process. */
  forget() {
    this.#explorer?.end();
    this.#explorer = undefined;
  }

  end() {
    this.forget();
    this.#lane.restore(this.#path);
  }

  /** @param {Mutant | undefined} alone */
  #load(alone) {
    const key = alone?.key ?? "";
    if (this.#explorer?.isGone === false && key === this.#alone) return this.#explorer;
    this.forget();
    this.#alone = key;
    if (alone === undefined) this.#lane.write(this.#path, this.#switched.text);
    else this.#lane.mutate(alone);
    const choice = this.#switched.keys.length > 0 && alone === undefined;
    const limit =
      this.#standstillSeconds === undefined ? {} : { standstillSeconds: this.#standstillSeconds };
    const module = choice ? this.#path : "";
    this.#explorer = new Explorer({ build: this.#lane.url, module, ...limit });
    return this.#explorer;
  }
}
