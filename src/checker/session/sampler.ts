/**
 * @module Samples of many small programs on one memory, for a fuzzer. An exploration of a few
 * executions costs less than its beginning: what it knows about footprints, the copy of the memory,
 * the arrays of its trace. So one execution object serves all programs.
 *
 * The scenario's functions make tasks of the program that is to run now. Everything else about the
 * scenario stays: its memory, how many tasks it has, and their names.
 *
 * An allocation touches only the first words of its object. A page table has 4,096, and all touches
 * of an execution together are 500 without them. So an order may be missing in which a task used
 * another word of an object before it was freed, and a data race may be reported that is none: the
 * caller explores a finding anew before it believes it.
 *
 * Errors have no stacks meanwhile: that of a fault which a program expects costs as much as twenty
 * steps. (Where the host is V8: others make them as ever.)
 *
 * Which steps depend on each other (dependence.ts) is learnt for all programs together. An
 * execution that shows a dependence is not counted, and what was found in it is dropped: it may be
 * a race that the dependence explains. The search goes on with the next execution, because a sample
 * has no order that it would have to keep.
 */

import { divertLockdep } from "../../sync/lockdep/lockdep.ts";
import { watchExtraReads } from "../../sync/tasks/extra-reads.ts";
import type { Scenario } from "../scenario.ts";
import { DependsOnMore, LEAST } from "../steps/dependence.ts";
import type { Finding } from "../findings/finding.ts";
import { watchPlainAccesses } from "../watch/plain-accesses.ts";
import type { End, ExploreOptions } from "./exploration.ts";
import { Session } from "./session.ts";
import type { SessionStart } from "./session.ts";

const WORDS_OF_OBJECT = 16;

/** The options that may differ from one sample to the next. */
export type SampleOptions = Required<Pick<ExploreOptions, "seed" | "executions" | "stopAt">> &
  Pick<ExploreOptions, "observer"> & { readonly engine: "random" | "pct" | "pos" };

export interface Sample {
  /** Without those that were not counted. */
  readonly executions: number;
  readonly findings: readonly Finding[];
}

export class Sampler {
  readonly #scenario: Scenario<unknown>;
  readonly #maxSteps: number;
  #used: SessionStart["used"];

  /**
   * An execution of more than `maxSteps` is endless. Nobody else uses the scenario's memory while
   * {@link sample} runs.
   */
  constructor(scenario: Scenario<unknown>, maxSteps: number) {
    this.#scenario = scenario;
    this.#maxSteps = maxSteps;
  }

  /** Forgets what it has learnt: what comes depends on what follows alone. */
  forget(): void {
    this.#used = undefined;
  }

  /** Executions of the tasks that the scenario's functions make now. */
  sample(options: SampleOptions): Sample {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    try {
      return this.#sample(options);
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  }

  #sample(options: SampleOptions): Sample {
    const used = this.#used;
    used?.reporter.clear();
    used?.run.digests.forget();
    const session = new Session(
      this.#scenario,
      { ...options, checkDeterminism: false, maxSteps: this.#maxSteps },
      {
        dependence: LEAST,
        from: undefined,
        fingerprint: "",
        wordsOfObject: WORDS_OF_OBJECT,
        ...(used && { used }),
      },
    );
    this.#used = session;
    try {
      for (let executions = 0; ;) {
        const end = searchOn(session, () => void executions++);
        if (end === undefined) continue;
        // The execution after which it ends for another reason is not among those counted so far.
        if (end !== "executions") executions++;
        return { executions, findings: session.reporter.findings };
      }
    } finally {
      divertLockdep(undefined);
      watchExtraReads(undefined);
      watchPlainAccesses(undefined);
      session.run.finish();
    }
  }
}

/** Undefined: an execution has shown a dependence, which is known now. */
function searchOn(session: Session, count: () => void): End | undefined {
  try {
    return session.search(() => {
      count();
      return false;
    });
  } catch (error) {
    if (!(error instanceof DependsOnMore)) throw error;
    session.run.footprints.learn(error.more);
    session.reporter.clear();
    return undefined;
  }
}
