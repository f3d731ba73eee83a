/**
 * @module The result of one scenario: a row of the table, an element of the JSON. It is data that
 * can be sent between threads and written to a checkpoint file.
 */

import type { Exploration } from "../../../src/checker/explore.ts";
import type { Finding, FindingKind } from "../../../src/checker/findings/finding.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";

export type Verdict = "ok" | "finding";

/** A finding as `hmm check --json` prints it. */
export interface RowFinding {
  readonly kind: FindingKind;
  readonly message: string;
  /** What `hmm replay` takes: the scenario's name, `@`, the schedule. */
  readonly token: string;
  readonly threads: readonly string[];
  readonly steps: number;
  readonly preemptions: number;
}

export interface CheckRow {
  readonly scenario: string;
  readonly verdict: Verdict;
  /** The verdict that the scenario expects. */
  readonly expected: Verdict;
  readonly engine: string;
  /** Every class was seen, up to `bound` preemptions. */
  readonly complete: boolean;
  /** null: without a bound. JSON has no Infinity. */
  readonly bound: number | null;
  readonly classes: number;
  readonly executions: number;
  readonly blocked: number;
  readonly seconds: number;
  readonly findings: readonly RowFinding[];
}

/** A row, with what only the table shows. */
export interface JudgedRow {
  readonly row: CheckRow;
  /** What the scenario expects to be found; undefined: nothing. */
  readonly expects: FindingKind | undefined;
  /** How much was covered, in words. */
  readonly coverage: string;
}

/**
 * The row of an exploration that has ended. `findings` are those to report, the expected kind
 * first.
 */
export function rowOf(
  scenario: AnyScenario,
  exploration: Exploration,
  findings: readonly Finding[],
  seconds: number,
): CheckRow {
  return {
    scenario: scenario.name,
    verdict: findings.length === 0 ? "ok" : "finding",
    expected: scenario.expects === undefined ? "ok" : "finding",
    engine: exploration.engine,
    complete: exploration.complete,
    bound: Number.isFinite(exploration.bound) ? exploration.bound : null,
    classes: exploration.classes,
    executions: exploration.executions,
    blocked: exploration.blocked,
    seconds,
    findings: findings.map((finding) => rowFinding(scenario.name, finding)),
  };
}

/** The row of an exploration that was not possible. */
export function failedRow(
  name: string,
  expects: FindingKind | undefined,
  message: string,
): CheckRow {
  const finding = {
    kind: "error",
    message,
    token: `${name}@h1-`,
    threads: [],
    steps: 0,
    preemptions: 0,
  } as const;
  return {
    scenario: name,
    verdict: "finding",
    expected: expects === undefined ? "ok" : "finding",
    engine: "none",
    complete: false,
    bound: null,
    classes: 0,
    executions: 0,
    blocked: 0,
    seconds: 0,
    findings: [finding],
  };
}

/**
 * Whether the row is as its scenario expects: no finding, or a finding of the kind that it names.
 */
export function isAsExpected({ row, expects }: Pick<JudgedRow, "row" | "expects">): boolean {
  if (expects === undefined) return row.verdict === "ok";
  return row.findings.some(({ kind }) => kind === expects);
}

/** Whether a value that was read from a file is a row: every field that is used of one. */
export function isJudgedRow(value: unknown): value is JudgedRow {
  const { row, expects, coverage } = fieldsOf(value);
  const { scenario, verdict, expected, engine, complete, bound, findings, ...counts } =
    fieldsOf(row);
  const { classes, executions, blocked, seconds } = counts;
  return (
    [scenario, engine, coverage].every((text) => typeof text === "string") &&
    [classes, executions, blocked, seconds].every((count) => typeof count === "number") &&
    [verdict, expected].every((word) => word === "ok" || word === "finding") &&
    (expects === undefined || typeof expects === "string") &&
    typeof complete === "boolean" &&
    (bound === null || typeof bound === "number") &&
    Array.isArray(findings) &&
    findings.every(isRowFinding)
  );
}

function isRowFinding(value: unknown): boolean {
  const { kind, message, token, threads, steps, preemptions } = fieldsOf(value);
  return (
    [kind, message, token].every((text) => typeof text === "string") &&
    [steps, preemptions].every((count) => typeof count === "number") &&
    Array.isArray(threads) &&
    threads.every((name) => typeof name === "string")
  );
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function rowFinding(name: string, finding: Finding): RowFinding {
  const { kind, message, token, threads, steps, preemptions } = finding;
  return { kind, message, token: `${name}@${token}`, threads, steps, preemptions };
}
