/**
 * @module A run: several lanes judge the chosen mutants in parallel, and each result is recorded at
 * once. It goes in rounds: first each mutant gets a little time, then those that nobody noticed get
 * more, so what is noticed at all is noticed early, and an interrupted run knows something of each.
 */

import { Examiner } from "./examiner.mjs";
import { Lane } from "./lane.mjs";
import { NOT_RUN, askCheck, askTests, hasNoticed } from "./judge.mjs";
import { killAll } from "./processes.mjs";

/**
 * @typedef {import("./examiner.mjs").Budget} Budget
 * @typedef {import("./find.mjs").Mutant} Mutant
 * @typedef {import("./judge.mjs").Judgement} Judgement
 * @typedef {import("./judge.mjs").Opinion} Opinion
 * @typedef {import("./likely.mjs").Likely} Likely
 * @typedef {import("./results.mjs").Results} Results
 * @typedef {import("./reached-by.mjs").ReachedBy} ReachedBy
 * @typedef {import("./reached-by.mjs").Witness} Witness
 */

/**
 * @typedef {object} RunOptions
 * @property {readonly Mutant[]} mutants In the order in which to try them.
 * @property {ReachedBy} reachedBy
 * @property {Likely} likely
 * @property {Results} results
 * @property {number} jobs
 * @property {"survivors" | "all" | "none"} tests Which mutants the tests are asked about.
 * @property {number} testSeconds
 * @property {number} seconds The most processor time for the scenarios of one mutant.
 * @property {number} most Scenarios that are tried on a mutant, the likeliest.
 * @property {readonly string[] | undefined} scenarios Names, or beginnings of names up to a slash:
 *   only these scenarios are tried.
 * @property {ReadonlySet<string>} hopeless Keys of those that nobody can notice, as people say:
 *   they get the first round only.
 * @property {readonly Mutant[]} forTests Those that no scenario noticed, and that only tests are
 *   asked about.
 * @property {(mutant: Mutant, judgement: Judgement, done: number) => void} onJudged
 */

/** What each round may use of the seconds of one mutant, and of these for one scenario. */
const ROUNDS = [0.1, 0.33, 1];
const SCENARIO_SHARE = 0.5;
/** What a scenario that noticed something gets to show that it is silent without a mutant. */
const CONTROL = { seconds: 1, scenarioSeconds: 1 };

/** A mutant under trial. */
class Case {
  /** @readonly */
  mutant;
  /** Scenarios that reach it and have not yet been explored to their end. @type {Witness[]} */
  open;
  /** How many reach it. @readonly */
  of;
  /** @type {Opinion} */
  check = NOT_RUN;
  tried = 0;

  /**
   * @param {Mutant} mutant
   * @param {Witness[]} witnesses That may be asked.
   * @param {number} of
   */
  constructor(mutant, witnesses, of = witnesses.length) {
    this.mutant = mutant;
    this.open = witnesses;
    this.of = of;
  }
}

/**
 * @template T
 * @param {readonly T[]} list
 * @param {(one: T) => string} nameOf
 */
function groupsOf(list, nameOf) {
  /** @type {Map<string, T[]>} */
  const groups = new Map();
  for (const one of list) {
    const name = nameOf(one);
    const own = groups.get(name);
    if (own === undefined) groups.set(name, [one]);
    else own.push(one);
  }
  return [...groups.values()];
}

class Run {
  /** @readonly */
  #options;
  /** @readonly */
  #stopping = new AbortController();
  /** Scenarios that are surprised by what is not mutated: they are not heard. */
  #upset = new Set();
  /** @type {Map<string, Judgement>} */
  #judged = new Map();

  /** @param {RunOptions} options */
  constructor(options) {
    this.#options = options;
  }

  async run() {
    const { mutants, forTests, jobs, seconds, hopeless, results, scenarios } = this.#options;
    const stop = () => {
      this.#stopping.abort();
      killAll();
    };
    process.once("SIGINT", stop);
    const lanes = Array.from(
      { length: Math.min(jobs, mutants.length + forTests.length) },
      () => new Lane(),
    );
    try {
      const isAsked = (/** @type {Case} */ { open }) => scenarios === undefined || open.length > 0;
      let cases = mutants.map((mutant) => this.#caseOf(mutant)).filter(isAsked);
      for (const [i, share] of ROUNDS.entries()) {
        const spent = Math.round(seconds * share * 10) / 10;
        const budget = { seconds: spent, scenarioSeconds: spent * SCENARIO_SHARE };
        const groups = groupsOf(cases, ({ mutant }) => mutant.path);
        await this.#share(lanes, groups, (lane, group) => this.#round(lane, group, budget));
        const isOpen = (/** @type {Case} */ { check, open, mutant }) =>
          !hasNoticed(check) && open.length > 0 && !(i === 0 && hopeless.has(mutant.key));
        cases = cases.filter(isOpen);
      }
      await this.#share(lanes, this.#forTests(), (lane, mutant) => this.#askTests(lane, mutant));
    } finally {
      for (const lane of lanes) lane.remove();
      process.removeListener("SIGINT", stop);
      results.save();
    }
  }

  /**
   * Every lane takes one after the other.
   *
   * @template T
   * @param {readonly Lane[]} lanes
   * @param {readonly T[]} list
   * @param {(lane: Lane, one: T) => Promise<void>} work
   */
  async #share(lanes, list, work) {
    const waiting = [...list];
    const takeAll = async (/** @type {Lane} */ lane) => {
      for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
        if (this.#stopping.signal.aborted) return;
        await work(lane, one);
      }
    };
    await Promise.all(lanes.map(takeAll));
  }

  /** @param {Mutant} mutant */
  #caseOf(mutant) {
    const { reachedBy, likely, most, scenarios } = this.#options;
    const reaching = reachedBy.scenariosOf(mutant);
    if (scenarios !== undefined) {
      const isAsked = (/** @type {Witness} */ { name }) =>
        scenarios.some((start) => name === start || name.startsWith(`${start}/`));
      return new Case(mutant, reaching.filter(isAsked), reaching.length);
    }
    if (reaching.length <= most) return new Case(mutant, reaching);
    const names = new Set(likely.inOrder(mutant, reaching).slice(0, most));
    const likeliest = reaching.filter(({ name }) => names.has(name));
    return new Case(mutant, likeliest, reaching.length);
  }

  /**
   * @param {Lane} lane
   * @param {readonly Case[]} group Mutants of one module.
   * @param {Budget} budget
   */
  async #round(lane, group, budget) {
    const mutants = group.map(({ mutant }) => mutant);
    const examiner = new Examiner(lane, mutants[0]?.path ?? "", mutants);
    try {
      for (const one of group) {
        const check = await this.#askCalm(examiner, one, budget);
        if (this.#stopping.signal.aborted) return; // it was killed, which says nothing
        one.check = check;
        const { tests } = this.#options.results.of(one.mutant) ?? { tests: NOT_RUN };
        this.#note(one.mutant, { check, tests });
      }
    } finally {
      examiner.end();
    }
  }

  /**
   * What the scenarios say that have not spoken yet; but one that is surprised without any mutant
   * is not heard.
   *
   * @param {Examiner} examiner
   * @param {Case} one
   * @param {Budget} budget
   * @returns {Promise<Opinion>}
   */
  async #askCalm(examiner, one, budget) {
    const { likely, results } = this.#options;
    const { mutant, of } = one;
    let isFresh = false;
    for (;;) {
      const open = one.open.filter(({ name }) => !this.#upset.has(name));
      const inOrder = likely.inOrder(mutant, open);
      const last = results.noticer(mutant);
      const first = inOrder.includes(last) ? [last] : [];
      const asked = [...first, ...inOrder.filter((name) => name !== last)];
      if (of > 0 && asked.length === 0)
        return { ...NOT_RUN, answer: "silent", tried: one.tried, of, seconds: budget.seconds };
      const { lines, ...opinion } = await askCheck(examiner, mutant, asked, budget);
      const silent = lines.filter(({ surprise, isCut }) => surprise === "" && !isCut);
      for (const { scenario, seconds } of silent) likely.learnSilence(mutant, scenario, seconds);
      const done = new Set(silent.map(({ scenario }) => scenario));
      one.open = open.filter(({ name }) => !done.has(name));
      one.tried += silent.length;
      if (this.#stopping.signal.aborted) return opinion;
      if (!hasNoticed(opinion)) return { ...opinion, tried: one.tried, of };
      const control = await this.#control(examiner, opinion.by);
      if (control === "calm" || (control === "spoilt" && isFresh)) {
        likely.learn(mutant, opinion.by);
        return opinion;
      }
      isFresh = true; // asked again in a new process
    }
  }

  /**
   * Whether a scenario is silent when no mutant is chosen: "calm". "spoilt": it is in a new process
   * only. "upset": in no process.
   *
   * @param {Examiner} examiner
   * @param {string} name
   * @returns {Promise<"calm" | "spoilt" | "upset">}
   */
  async #control(examiner, name) {
    if ((await this.#said(examiner, name)) === "nothing") return "calm";
    examiner.forget();
    const said = await this.#said(examiner, name);
    if (said === "nothing") return "spoilt";
    if (said === "its end") throw new Error(`Cannot go on: unmutated, ${name} ends the process`);
    this.#upset.add(name);
    return "upset";
  }

  /**
   * What a scenario says of the module as it was built.
   *
   * @param {Examiner} examiner
   * @param {string} name
   */
  async #said(examiner, name) {
    const { lines, ended } = await examiner.ask(undefined, [name], CONTROL);
    if (ended === "crash" && !this.#stopping.signal.aborted) return "its end";
    const isSilent = ended === "well" && lines.every(({ surprise }) => surprise === "");
    return isSilent ? "nothing" : "something";
  }

  /** Those that the tests are asked about. */
  #forTests() {
    const { mutants, tests, forTests, hopeless } = this.#options;
    if (tests === "none") return [];
    const tried = mutants.filter(({ key }) => {
      const judgement = this.#judged.get(key);
      if (judgement === undefined || hopeless.has(key)) return false;
      return tests === "all" || !hasNoticed(judgement.check);
    });
    return [...tried, ...forTests];
  }

  /**
   * @param {Lane} lane
   * @param {Mutant} mutant
   */
  async #askTests(lane, mutant) {
    const { reachedBy, testSeconds } = this.#options;
    const layer = `/${mutant.module.slice(0, mutant.module.indexOf("/"))}/`;
    // Tests of the layer itself look closest.
    const cost = (/** @type {{ name: string, seconds: number }} */ { name, seconds }) =>
      name.includes(layer) ? seconds / 5 : seconds;
    const asked = reachedBy.testsOf(mutant).toSorted((a, b) => cost(a) - cost(b));
    const tests = await askTests(lane, mutant, asked, testSeconds);
    if (this.#stopping.signal.aborted) return;
    const known = this.#judged.get(mutant.key) ?? this.#options.results.of(mutant);
    if (known !== undefined) this.#note(mutant, { check: known.check, tests });
  }

  /**
   * @param {Mutant} mutant
   * @param {Judgement} judgement
   */
  #note(mutant, judgement) {
    const { results, onJudged } = this.#options;
    results.keep(mutant, judgement);
    this.#judged.set(mutant.key, judgement);
    onJudged(mutant, judgement, this.#judged.size);
  }
}

/**
 * Judges the mutants. The results are in the record, without those that were not reached before an
 * interruption.
 *
 * @param {RunOptions} options
 */
export async function judgeAll(options) {
  await new Run(options).run();
}
