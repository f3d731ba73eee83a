/**
 * @module One scenario explored and judged, in any thread. Its findings are minimised; those that
 * will be shown are recorded, with the nearest schedule that passes.
 */

import { explore } from "../../../src/checker/explore.ts";
import type { Exploration, ExploreOptions, Progress } from "../../../src/checker/explore.ts";
import type { Finding } from "../../../src/checker/findings/finding.ts";
import { minimise } from "../../../src/checker/replay/minimise.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import type { Checkpoint } from "../../../src/checker/session/checkpoint.ts";
import { coverageText } from "../../../src/checker/session/coverage-text.ts";
import { failedRow, isAsExpected, rowOf } from "./check-row.ts";
import type { JudgedRow } from "./check-row.ts";
import { exploreOptions, budgetOf } from "./engine-choice.ts";
import type { EngineChoice } from "./engine-choice.ts";
import { scenarioAt } from "./scenario-modules.ts";
import type { ScenarioAddress } from "./scenario-modules.ts";
import { showFinding } from "./shown-finding.ts";
import type { ShownFinding } from "./shown-finding.ts";

/** How many findings of one scenario are minimised and shown. The others are only counted. */
const FINDINGS_REPORTED = 5;
const FINDINGS_SHOWN = 2;

/** Which findings are recorded: the unexpected ones, or all. */
export type Wanted = "surprises" | "all";

export interface ExploreJob {
  readonly address: ScenarioAddress;
  readonly choice: EngineChoice;
  /** Which findings are made as small as they get. */
  readonly minimised: Wanted;
  /** Which are recorded, for a timeline. */
  readonly shown: Wanted;
  readonly resumeFrom: Checkpoint | undefined;
}

/** The result. It can be sent between threads. */
export type JobOutcome =
  | {
      readonly kind: "judged";
      readonly judged: JudgedRow;
      readonly shown: readonly ShownFinding[];
      /** Its Worker ended by itself: the scenario's code has ended it. */
      readonly isLost?: boolean;
    }
  | { readonly kind: "stopped"; readonly checkpoint: Checkpoint | undefined };

export interface JobHearing {
  onProgress(so: Progress): void;
  isCancelled(): boolean;
  /** An execution of a finding is repeated, to make it small or to show it. */
  onReplay?(): void;
}

/**
 * Explores and judges. It never throws: if the scenario cannot be explored, that is reported as a
 * finding.
 */
export async function doJob(job: ExploreJob, hearing: JobHearing): Promise<JobOutcome> {
  const startMs = performance.now();
  let expects: JudgedRow["expects"];
  try {
    const scenario = await scenarioAt(job.address);
    ({ expects } = scenario);
    const options = exploreOptions(scenario, job.choice);
    const { resumeFrom } = job;
    const exploration = explore(scenario, {
      ...options,
      resumable: true,
      ...(resumeFrom === undefined ? {} : { resumeFrom }),
      onProgress: (so) => hearing.onProgress(so),
      isCancelled: () => hearing.isCancelled(),
    });
    if (exploration.end === "cancelled")
      return { kind: "stopped", checkpoint: exploration.checkpoint };
    return judge(scenario, exploration, job, options, startMs, () => hearing.onReplay?.());
  } catch (error) {
    return failedOutcome(job, expects, error);
  }
}

/** The scenario could not be explored. `isLost`: it has ended the thread that did. */
export function failedOutcome(
  job: ExploreJob,
  expects: JudgedRow["expects"],
  error: unknown,
  isLost: boolean = false,
): JobOutcome {
  const message = error instanceof Error ? error.message : String(error);
  const row = failedRow(job.address.name, expects, message);
  const judged = { row, expects, coverage: "could not be explored" };
  return { kind: "judged", judged, shown: [], isLost };
}

/** The row of an exploration that has ended, and its recorded findings. */
export function judge(
  scenario: AnyScenario,
  exploration: Exploration,
  job: ExploreJob,
  options: ExploreOptions,
  startMs: number,
  onReplay: () => void = () => {},
): JobOutcome {
  const { expects } = scenario;
  const found = expectedFirst(exploration.findings, scenario);
  const coverage = coverageText(exploration);
  const judgedSoFar = { row: rowOf(scenario, exploration, found, 0), expects };
  const isSurprise = !isAsExpected(judgedSoFar);
  const isCancelled = (): boolean => {
    onReplay();
    return false;
  };
  const budget = { ...budgetOf(options), isCancelled };
  const isMinimised = job.minimised === "all" || isSurprise;
  const reported = found.slice(0, FINDINGS_REPORTED);
  const findings = isMinimised
    ? reported.map((finding) => minimise(scenario, finding, budget))
    : reported;
  const isShown = job.shown === "all" || isSurprise;
  const shown = isShown ? findings.slice(0, FINDINGS_SHOWN) : [];
  const seconds = (performance.now() - startMs) / 1000;
  return {
    kind: "judged",
    judged: { row: rowOf(scenario, exploration, findings, seconds), expects, coverage },
    shown: shown.map((finding) => showFinding(scenario, finding.token, budget)),
  };
}

function expectedFirst(findings: readonly Finding[], { expects }: AnyScenario): Finding[] {
  return findings.toSorted((a, b) => Number(b.kind === expects) - Number(a.kind === expects));
}
