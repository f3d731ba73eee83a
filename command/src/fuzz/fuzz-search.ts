/**
 * @module The search of one thread. Each program is new, or a mutation of one that showed something
 * new, and runs under a few schedules of every sampling engine. Program number i depends only on
 * the seed and i, so a search can go on where another one stopped. It goes on after a finding, and
 * tells each nature once.
 */

import { RandomNumbers } from "../../../src/checker/engines/random-numbers.ts";
import type { Finding } from "../../../src/checker/findings/finding.ts";
import { confirm } from "./confirm.ts";
import type { FuzzProgram } from "./fuzz-program.ts";
import type { OperationTable } from "./fuzz-stage.ts";
import { natureOf } from "./nature.ts";
import { operations } from "./operations.ts";
import { changedProgram, isAboutBlock, randomProgram } from "./program-grammar.ts";
import { forgetSamples, stageFor } from "./program-scenario.ts";
import { Signals } from "./signals.ts";

const ENGINES = ["random", "pct", "pos"] as const;
const SCHEDULES_OF_ENGINE = 8;
/** Of a program about a block of 2 MiB, whose executions are long. */
const SCHEDULES_IF_HUGE = 2;
/** The corpus: the latest programs that showed something new. They are mutated. */
const CORPUS_LIMIT = 400;
const STRIDE = 0x9e3779b1;

export interface FuzzSearchOptions {
  readonly seed: number;
  readonly table?: OperationTable;
}

/** The result of one program. */
export interface ProgramOutcome {
  readonly program: FuzzProgram;
  readonly executions: number;
  /** The first one of a nature that no earlier program had. */
  readonly finding: Finding | undefined;
  /** What it was the first to show. */
  readonly signals: readonly string[];
}

export class FuzzSearch {
  readonly #seed: number;
  readonly #table: OperationTable;
  readonly #signals = new Signals();
  readonly #corpus: FuzzProgram[] = [];
  /** Of the findings so far (nature.ts). */
  readonly #natures = new Set<string>();

  constructor({ seed, table = operations }: FuzzSearchOptions) {
    this.#seed = seed;
    this.#table = table;
    forgetSamples();
  }

  /** What another search has found worth keeping. */
  learn(program: FuzzProgram, signals: readonly string[]): void {
    this.#signals.learn(signals);
    this.#keep(program);
  }

  /** Draws and explores program `number`. */
  tryProgram(number: number): ProgramOutcome {
    const random = new RandomNumbers(this.#seed ^ Math.imul(number + 1, STRIDE));
    const program = this.#draw(random);
    const stage = stageFor(Object.keys(program.tasks).length);
    stage.watcher = this.#signals;
    let executions = 0;
    let finding: Finding | undefined;
    for (const engine of ENGINES) {
      const sample = stage.sample(program, this.#table, {
        engine,
        seed: random.next(),
        executions: isAboutBlock(program) ? SCHEDULES_IF_HUGE : SCHEDULES_OF_ENGINE,
        stopAt: (found) => this.#isNew(found),
        observer: this.#signals,
      });
      executions += sample.executions;
      finding = sample.findings.find((found) => this.#isNew(found));
      if (finding !== undefined) break;
    }
    if (finding !== undefined) finding = this.#confirmed(program, finding);
    stage.watcher = undefined;
    const signals = this.#signals.takeFresh();
    if (signals.length > 0) this.#keep(program);
    return { program, executions, finding, signals };
  }

  /** Others have found a finding of this nature: it is not told again. */
  learnNature(nature: string): void {
    this.#natures.add(nature);
  }

  #isNew(finding: Finding): boolean {
    return !this.#natures.has(natureOf(finding));
  }

  /**
   * The finding, if a replay that knows all that steps touch (sampler.ts) finds it, too. From now
   * on it is known.
   */
  #confirmed(program: FuzzProgram, finding: Finding): Finding | undefined {
    const found = confirm(program, finding, this.#table);
    if (found !== undefined) this.#natures.add(natureOf(finding));
    return found;
  }

  #draw(random: RandomNumbers): FuzzProgram {
    const [one, other] = [random.below(this.#corpus.length), random.below(this.#corpus.length)];
    const parent = this.#corpus[one];
    if (parent === undefined || random.below(3) === 0) return randomProgram(random);
    return changedProgram(parent, this.#corpus[other] ?? parent, random);
  }

  /** Programs about a block are not mutated: their kin would take most of the time. */
  #keep(program: FuzzProgram): void {
    if (isAboutBlock(program)) return;
    this.#corpus.push(program);
    if (this.#corpus.length > CORPUS_LIMIT) this.#corpus.shift();
  }
}
