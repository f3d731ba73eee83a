/**
 * @module The rows of a timeline, as data: the steps that are shown, folds for the others, notes
 * between steps, and the bars of locks and the marks of objects beside them. The text form and the
 * page of a report draw the same rows.
 */

import type { LockHold, RecordedFinding, RecordedObject, Recording } from "../replay/recording.ts";

/** A row's part of a bar: no bar, its first row, a row in between, its last row. */
export type BarPart = "none" | "start" | "hold" | "end";

export interface Bar {
  readonly part: BarPart;
  readonly mode: LockHold["mode"];
  readonly label: string;
}

/**
 * The state of an object at a row: not allocated, allocated here, alive, freed here, used here
 * after the free, freed.
 */
export type LifePart = "none" | "alloc" | "alive" | "free" | "bad" | "gone";

export interface TimelineRow {
  /**
   * `step`: a step; `note`: what a task did between two steps, or why it did not go on; `fold`:
   * steps that are not shown.
   */
  readonly kind: "step" | "note" | "fold";
  /** The step that it shows or follows; -1: before the first. */
  readonly step: number;
  /** The task in whose column it is; -1 for a fold. */
  readonly task: number;
  readonly text: string;
  /** The finding is about it. */
  readonly isBad: boolean;
  /** For each task, its bars from left to right. */
  readonly bars: readonly (readonly Bar[])[];
  /** For each object of {@link TimelineRows.objects}. */
  readonly lives: readonly LifePart[];
}

export interface TimelineRows {
  readonly rows: readonly TimelineRow[];
  readonly objects: readonly RecordedObject[];
  /** Tasks that have a row. */
  readonly tasks: readonly number[];
}

type BareRow = Omit<TimelineRow, "bars" | "lives">;

/** Kinds that are reported before the lock is taken: the operation is still pending. */
const isAboutLocks: ReadonlySet<string> = new Set([
  "lock-order",
  "lock-recursion",
  "sleep-in-atomic",
]);
const OBJECTS_SHOWN = 3;
const PERIOD_LIMIT = 8;
const REPEATS_FOLDED = 3;

/** What a timeline shows of a recording. */
export function timelineRows(recording: Recording): TimelineRows {
  const bare = withEnds(recording, withNotes(recording, withRepeatsFolded(stepRows(recording))));
  const { finding, steps } = recording;
  const notRecorded = recording.length - steps.length;
  if (notRecorded > 0) {
    const text = `and so on: ${notRecorded} more steps`;
    bare.push({ kind: "fold", step: steps.length - 1, task: -1, text, isBad: false });
  }
  if (finding !== undefined && !bare.some(({ isBad }) => isBad)) {
    bare.push({
      kind: "fold",
      step: steps.length - 1,
      task: -1,
      text: finding.message,
      isBad: true,
    });
  }
  const objects = shownObjects(recording);
  const slots = recording.tasks.map((_, task) => slotsOf(recording, bare, task));
  const rows = bare.map((row) => ({
    ...row,
    bars: slots.map((holds) => holds.map((slot) => barAt(slot, row))),
    lives: objects.map((object) => lifeAt(object, row)),
  }));
  const tasks = [...recording.tasks.keys()].filter((task) => bare.some((row) => row.task === task));
  return { rows, objects, tasks };
}

/** Rows for the steps that the finding depends on, and folds for the others. */
function stepRows({ steps, finding }: Recording): BareRow[] {
  const rows: BareRow[] = [];
  const about = badStepsOf(finding);
  let hidden = 0;
  const fold = (step: number): void => {
    if (hidden > 0)
      rows.push({ kind: "fold", step, task: -1, text: independent(hidden), isBad: false });
    hidden = 0;
  };
  for (const [step, { task, text, isInPast }] of steps.entries()) {
    if (!isInPast) {
      hidden++;
      continue;
    }
    fold(step - 1);
    rows.push({ kind: "step", step, task, text, isBad: about.has(step) });
  }
  fold(steps.length - 1);
  return rows;
}

/** For a use after free only the use; the lifetime of the object is shown beside the rows. */
function badStepsOf(finding: RecordedFinding | undefined): ReadonlySet<number> {
  const sites = (finding?.sites ?? [])
    .filter(({ operation }) => !isPlain(operation))
    .map(({ step }) => step);
  const isOfLife = finding?.kind === "use-after-free" || finding?.kind === "double-free";
  return new Set(isOfLife ? [Math.max(...sites)] : sites);
}

function independent(count: number): string {
  return count === 1 ? "1 independent step" : `${count} independent steps`;
}

function isPlain(operation: string): boolean {
  return operation.startsWith("plain ");
}

/** Shows the steps of a loop once, and folds the repetitions. */
function withRepeatsFolded(rows: readonly BareRow[]): BareRow[] {
  const folded: BareRow[] = [];
  for (let i = 0; i < rows.length;) {
    const { period, repeats } = repeatAt(rows, i);
    const end = i + period;
    folded.push(...rows.slice(i, end));
    const last = rows[end + period * repeats - 1];
    if (repeats >= REPEATS_FOLDED && last !== undefined) {
      const what = period === 1 ? "the same step" : `the same ${period} steps`;
      folded.push({
        kind: "fold",
        step: last.step,
        task: -1,
        text: `↻ ${what} ${repeats} times more`,
        isBad: false,
      });
      i = end + period * repeats;
    } else i = end;
  }
  return folded;
}

/**
 * The shortest span of rows at `start` that is repeated directly after itself; one row and no
 * repeats if there is none.
 */
function repeatAt(rows: readonly BareRow[], start: number): { period: number; repeats: number } {
  for (let period = 1; period <= PERIOD_LIMIT; period++) {
    let matching = 0;
    while (isSame(rows[start + matching], rows[start + matching + period])) matching++;
    const repeats = Math.floor(matching / period);
    if (repeats >= REPEATS_FOLDED) return { period, repeats };
  }
  return { period: 1, repeats: 0 };
}

function isSame(a: BareRow | undefined, b: BareRow | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.kind === "step" && b.kind === "step" && a.task === b.task && a.text === b.text;
}

/** Adds notes: why a task did not go on, and plain accesses, which are no steps. */
function withNotes(recording: Recording, rows: readonly BareRow[]): BareRow[] {
  const noted: BareRow[] = [];
  const plain = (recording.finding?.sites ?? []).filter(({ operation }) => isPlain(operation));
  let plainNext = 0;
  let last: BareRow | undefined;
  const addPlain = (before: number): void => {
    for (
      let site = plain[plainNext];
      site !== undefined && site.step <= before;
      site = plain[++plainNext]
    ) {
      const task = recording.tasks.indexOf(site.task);
      noted.push({
        kind: "note",
        step: site.step - 1,
        task,
        text: `${site.operation} ${site.label}`,
        isBad: true,
      });
    }
  };
  for (const row of rows) {
    addPlain(row.step);
    if (row.kind === "step") {
      if (last !== undefined && last.task !== row.task)
        noted.push(leavingNote(recording, last, row.step - 1));
      last = row;
    }
    noted.push(row);
  }
  addPlain(Infinity);
  return noted;
}

function leavingNote({ steps }: Recording, last: BareRow, step: number): BareRow {
  const state = steps[step]?.states[last.task];
  const text = state === undefined || state.state === "ready" ? "preempted" : state.text;
  return { kind: "note", step, task: last.task, text, isBad: false };
}

/** Adds what blocked tasks wait for at the end. An earlier note of such a task is removed. */
function withEnds({ finding, ends, steps, tasks }: Recording, rows: readonly BareRow[]): BareRow[] {
  const last = steps.length - 1;
  const ended: BareRow[] = [...rows];
  for (const [task, end] of ends.entries()) {
    if (end.state === "threw" && steps[last]?.task === task) {
      ended.push({ kind: "note", step: last, task, text: end.text, isBad: true });
    }
    if (
      isAboutLocks.has(finding?.kind ?? "") &&
      end.kind !== "" &&
      finding?.threads[0] === tasks[task]
    ) {
      ended.push({ kind: "note", step: last, task, text: end.text, isBad: true });
    }
    if (
      end.state !== "waiting" ||
      (finding?.kind !== "deadlock" && finding?.kind !== "lost-wakeup")
    )
      continue;
    const said = ended.findLastIndex((row) => row.task === task);
    if (ended[said]?.kind === "note") ended.splice(said, 1);
    const isAlone = end.kind === "park" && end.holders.length === 0;
    const text = isAlone ? `${end.text}; nobody is left to wake it` : end.text;
    ended.push({ kind: "note", step: last, task, text, isBad: true });
  }
  return ended;
}

function shownObjects({ objects }: Recording): RecordedObject[] {
  const told = objects.filter(({ badSteps, freeStep }) => badSteps.length > 0 || freeStep >= 0);
  return told
    .toSorted((a, b) => Number(b.badSteps.length > 0) - Number(a.badSteps.length > 0))
    .slice(0, OBJECTS_SHOWN);
}

/**
 * The locks of a task in as few bars as possible: each is in the leftmost bar that is free while it
 * is held.
 */
function slotsOf({ locks }: Recording, rows: readonly BareRow[], task: number): LockHold[][] {
  const slots: LockHold[][] = [];
  for (const hold of locks) {
    if (hold.task !== task || !rows.some((row) => isBeside(hold, row))) continue;
    const free = slots.find((slot) => slot.every(({ to }) => to >= 0 && to < hold.from));
    if (free === undefined) slots.push([hold]);
    else free.push(hold);
  }
  return slots;
}

function isBeside({ from, to }: LockHold, { kind, step }: BareRow): boolean {
  if (kind === "step") return from <= step && (to < 0 || step <= to);
  return from <= step && (to < 0 || step < to);
}

function barAt(slot: readonly LockHold[], row: BareRow): Bar {
  // In a downgrade two holds meet in one step: the new one is shown.
  const hold = slot.findLast((candidate) => isBeside(candidate, row));
  if (hold === undefined) return { part: "none", mode: "exclusive", label: "" };
  const { mode, label, from, to } = hold;
  if (row.kind !== "step") return { part: "hold", mode, label };
  const part = from === row.step ? "start" : to === row.step ? "end" : "hold";
  return { part, mode, label };
}

function lifeAt(
  { allocStep, freeStep, badSteps }: RecordedObject,
  { kind, step }: BareRow,
): LifePart {
  if (kind === "step") {
    if (step === allocStep) return "alloc";
    if (step === freeStep) return "free";
    if (badSteps.includes(step)) return "bad";
  }
  if (step < allocStep) return "none";
  if (freeStep < 0 || step < freeStep) return "alive";
  return step < Math.max(-1, ...badSteps) ? "gone" : "none";
}
