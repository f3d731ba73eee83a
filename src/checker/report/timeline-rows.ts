/**
 * @module The rows of a timeline, as data: which steps are shown, where others are folded away,
 * what stands between two steps, and which bars and marks run beside them. The terminal's text and
 * the report's page draw the same rows.
 */

import type { LockHold, RecordedFinding, RecordedObject, Recording } from "../replay/recording.ts";

/** A place in a bar: nothing, its first row, a row between, its last row. */
export type BarPart = "none" | "start" | "hold" | "end";

export interface Bar {
  readonly part: BarPart;
  readonly mode: LockHold["mode"];
  readonly label: string;
}

/**
 * An object beside a row: not there, allocated here, alive, freed here, used here although freed,
 * gone.
 */
export type LifePart = "none" | "alloc" | "alive" | "free" | "bad" | "gone";

export interface TimelineRow {
  /**
   * `step`: one step; `note`: what a task did between two steps, or why it did not go on; `fold`:
   * steps not shown.
   */
  readonly kind: "step" | "note" | "fold";
  /** The step that it shows, or after which it stands; -1: before the first. */
  readonly step: number;
  /** Whose column it is in; -1 for a fold. */
  readonly task: number;
  readonly text: string;
  /** It is what the finding is about. */
  readonly isBad: boolean;
  /** Of each task, its bars from left to right. */
  readonly bars: readonly (readonly Bar[])[];
  /** Of each object of {@link TimelineRows.objects}. */
  readonly lives: readonly LifePart[];
}

export interface TimelineRows {
  readonly rows: readonly TimelineRow[];
  readonly objects: readonly RecordedObject[];
  /** Tasks that have a row. */
  readonly tasks: readonly number[];
}

type BareRow = Omit<TimelineRow, "bars" | "lives">;

/** Told before the lock is taken: the operation is the next one. */
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
  const untold = recording.length - steps.length;
  if (untold > 0) {
    const text = `and so on: ${untold} more steps`;
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

/** The steps that the finding depends on, and folds for the others. */
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

/** Of an object that was freed, the use; how it lived and died is shown beside. */
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

/** A loop that goes round and round is shown once. */
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
 * The shortest stretch from `start` on that comes again and again right after itself; else one row
 * and no repeats.
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

/** Why a task did not go on, and plain accesses, which are no steps. */
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

/** What the tasks that a deadlock is about wait for; a note that said so already is moved there. */
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
 * The locks of a task in as few bars as can be: each in the leftmost one that is free for as long
 * as it is held.
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
  // Of two that meet in one step, a downgrade, the new one is shown.
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
