/**
 * @module Two schedules of one scenario side by side, one that fails and one that passes, from
 * shortly before they diverge.
 */

import type { RecordedStep, Recording } from "../replay/recording.ts";
import type { Paint } from "./paint.ts";
import { cut, pad, wrap } from "./text-cells.ts";

interface Drawn {
  readonly width: number;
  readonly paint: Paint;
}

/** How many common steps are shown before the first difference. */
const COMMON = 2;
const ROWS = 12;
const BETWEEN = " │ ";
const MARK = "▶ ";
const blankMark = " ".repeat(MARK.length);
const LEAST_TEXT = 12;

/** One row of a {@link Comparison}: the steps at the same position in both. */
export type ComparedPair = readonly [ComparedStep | undefined, ComparedStep | undefined];

export interface ComparedStep {
  /** The number of the step in its own recording. */
  readonly step: number;
  readonly task: number;
  /** The step as text, with the name of its task. */
  readonly text: string;
}

export interface Comparison {
  readonly rows: readonly ComparedPair[];
  /** The first row that differs. */
  readonly first: number;
}

/** Two schedules, row by row. */
export function comparisonOf(failing: Recording, passing: Recording): Comparison {
  const [a, b] = comparedSteps(failing, passing);
  const compared = (
    recording: Recording,
    step: RecordedStep | undefined,
  ): ComparedStep | undefined => {
    if (step === undefined) return undefined;
    const text = `${recording.tasks[step.task] ?? ""}: ${step.text}`;
    return { step: recording.steps.indexOf(step), task: step.task, text };
  };
  const rows = Array.from({ length: Math.max(a.length, b.length) }, (_, i): ComparedPair => {
    return [compared(failing, a[i]), compared(passing, b[i])];
  });
  return { rows, first: firstDifference(a, b) };
}

function firstDifference(a: readonly RecordedStep[], b: readonly RecordedStep[]): number {
  let step = 0;
  while (step < a.length && step < b.length && isSame(a[step], b[step])) step++;
  return step;
}

/**
 * The steps of the failing schedule that the finding depends on; and those of the passing schedule
 * without the ones that the finding did not depend on.
 */
function comparedSteps(failing: Recording, passing: Recording): [RecordedStep[], RecordedStep[]] {
  const independent = new Map<string, RecordedStep>();
  const involved = new Set<number>();
  for (const [place, step] of numbered(failing.steps)) {
    if (step.isInPast) involved.add(step.task);
    else independent.set(place, step);
  }
  const others = numbered(passing.steps).filter(
    ([place, step]) => !isSame(independent.get(place), step),
  );
  const shown = others.map(([, step]) => step).filter(({ task }) => involved.has(task));
  return [failing.steps.filter(({ isInPast }) => isInPast), shown];
}

/** Each step with its task and its number among that task's steps. */
function numbered(steps: readonly RecordedStep[]): [string, RecordedStep][] {
  return steps.map((step) => [`${step.task}.${step.clock[step.task] ?? 0}`, step]);
}

/** The comparison as lines; the first row that differs is marked. */
export function comparisonLines(
  failing: Recording,
  passing: Recording,
  { width, paint }: Drawn,
): string[] {
  const [a, b] = comparedSteps(failing, passing);
  const first = firstDifference(a, b);
  const start = Math.max(first - COMMON, 0);
  const end = Math.min(Math.max(a.length, b.length), start + ROWS);
  const involved = [...new Set([...a, ...b].map(({ task }) => failing.tasks[task] ?? ""))];
  const nameWidth = Math.max(0, ...involved.map((name) => name.length));
  const half = Math.floor((width - MARK.length - BETWEEN.length) / 2);
  const cellOf = (step: RecordedStep | undefined): string[] => {
    if (step === undefined) return [];
    const [text = "", ...more] = wrap(step.text, Math.max(half - nameWidth - 2, LEAST_TEXT));
    const blank = " ".repeat(nameWidth + 2);
    return [
      `${pad(failing.tasks[step.task] ?? "", nameWidth)}  ${text}`,
      ...more.map((rest) => `${blank}${rest}`),
    ];
  };
  const lines = [
    paint.bold(`The nearest passing schedule diverges at step ${first + 1}:`),
    paint.dim(`  ${passing.command}`),
    "",
    `${blankMark}${paint.red(pad("fails", half))}${BETWEEN}${paint.green("passes")}`,
  ];
  if (start > 0)
    lines.push(
      paint.dim(
        `${blankMark}${pad(start === 1 ? "the same step" : `the same ${start} steps`, half)}${BETWEEN}`,
      ),
    );
  for (let row = start; row < end; row++) {
    const [left, right] = [cellOf(a[row]), cellOf(b[row])];
    for (let i = 0; i < Math.max(left.length, right.length); i++) {
      const cells = [
        pad(cut(left[i] ?? "", half), half),
        pad(cut(right[i] ?? "", half), half),
      ].join(BETWEEN);
      lines.push(
        row === first
          ? paint.bold(`${i === 0 ? MARK : blankMark}${cells}`)
          : `${blankMark}${cells}`,
      );
    }
  }
  lines.push(...endings(a.length - end, b.length - end, half, paint));
  return lines;
}

function endings(failingLeft: number, passingLeft: number, half: number, paint: Paint): string[] {
  const fails = failingLeft > 0 ? `… ${failingLeft} more, then ✗` : "✗";
  const passes = passingLeft > 0 ? `… ${passingLeft} more, then ✓` : "✓";
  return [`${blankMark}${paint.red(pad(fails, half))}${BETWEEN}${paint.green(passes)}`];
}

function isSame(a: RecordedStep | undefined, b: RecordedStep | undefined): boolean {
  return (
    a !== undefined &&
    b !== undefined &&
    a.task === b.task &&
    a.kind === b.kind &&
    a.label === b.label
  );
}
