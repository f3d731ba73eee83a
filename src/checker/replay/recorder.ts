/**
 * @module Observes the replay of one schedule and collects the parts of a {@link Recording}. Names
 * are filled in at the end, when all objects are known.
 */

import { CONTROL_WORDS } from "../../sync/control-block.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { Execution } from "../execution/execution.ts";
import type { Observer } from "../explore.ts";
import type { Site } from "../findings/finding.ts";
import type { StateTable } from "../scenario.ts";
import { placesOf, relevantPlace } from "../steps/source-places.ts";
import type { SourcePlace } from "../steps/source-places.ts";
import { DEATH, RECHECK, RUN, SPURIOUS, TIMEOUT, WAKE, choiceOf, taskOf } from "../steps/trace.ts";
import type { Choice } from "../steps/trace.ts";
import { LockHolds } from "./lock-holds.ts";
import { ObjectNames } from "./object-names.ts";
import { phraseOf, waitPhrase } from "./phrases.ts";
import type { Edge, RecordedStep, Recording, TaskState, WordChange } from "./recording.ts";

/** The state of a task after a step, without text. */
interface RawState {
  readonly task: number;
  readonly wait: Wait | undefined;
  readonly isWaiting: boolean;
  readonly threw: boolean;
  readonly holders: readonly number[];
  /** The holders hold nothing: they are before the task in the queue. */
  readonly isQueued: boolean;
}

interface RawStep {
  readonly task: number;
  readonly choice: Choice;
  readonly wait: Wait;
  readonly before: number;
  readonly after: number;
  readonly changes: readonly {
    readonly at: number;
    readonly before: number;
    readonly after: number;
  }[];
  readonly states: readonly RawState[];
  readonly clock: readonly number[];
  readonly woken: readonly number[];
  readonly tables: readonly StateTable[];
}

type Parts = Pick<Recording, "tasks" | "steps" | "ends" | "objects" | "locks" | "edges" | "tables">;

const ALLOC = "alloc";
/** Of an endless execution only the beginning is recorded. */
const STEPS_RECORDED = 1000;

export class Recorder implements Observer {
  #raw: RawStep[] = [];
  #edges: Edge[] = [];
  #holds = new LockHolds();
  readonly #marks = new WeakMap<Wait, Error>();
  /** For each word: the last step that wrote it, and its task. */
  #written = new Map<number, { step: number; task: number }>();
  #names: ObjectNames | undefined;
  #words: Int32Array = new Int32Array(0);
  #tables: readonly StateTable[] = [];
  #start: readonly RawState[] = [];
  #taskNames: readonly string[] = [];

  /** Called for every described operation, while its code is on the stack. */
  mark(wait: Wait, place: Error): void {
    this.#marks.set(wait, place);
  }

  /** Begins a recording. An exploration may begin again several times. */
  began(run: Execution): void {
    this.#raw = [];
    this.#edges = [];
    this.#holds = new LockHolds();
    this.#written = new Map();
    this.#names = new ObjectNames(run.memory.words);
    this.#words = new Int32Array(run.memory.words);
    this.#tables = structuredClone(run.describeState());
    this.#start = this.#statesOf(run);
    this.#taskNames = run.names;
  }

  stepped(run: Execution): void {
    if (this.#raw.length === STEPS_RECORDED) return;
    const { trace } = run;
    const step = run.depth - 1;
    const transition = trace.transition[step]!;
    const task = taskOf(transition);
    const wait = trace.waits[step]!;
    const [before, after] = [trace.before[step]!, trace.after[step]!];
    const runs = choiceOf(transition) === RUN || choiceOf(transition) >= WAKE;
    if (runs) this.#follow(step, task, wait, { before, after });
    const cause = trace.cause[step]!;
    if (wait.kind === "park" && runs && cause >= 0)
      this.#edges.push({ from: cause, to: step, why: "wake" });
    const earlier = this.#raw.at(-1)?.states ?? this.#start;
    const states = this.#statesOf(run);
    const woken = states.flatMap((state, other) => (isWoken(earlier[other], state) ? [other] : []));
    const clock = Array.from(trace.clocks.subarray(step * trace.tasks, (step + 1) * trace.tasks));
    const tables = structuredClone(run.describeState());
    const changes = this.#changesIn(run.memory.words);
    this.#raw.push({
      task,
      choice: choiceOf(transition),
      wait,
      before,
      after,
      changes,
      states,
      clock,
      woken,
      tables,
    });
  }

  /** The parts, after the execution. `sites` have labels of words that no step names. */
  finish(sites: readonly Pick<Site, "at" | "label">[]): Parts {
    for (const { at, label } of sites) if (at > 0 && label !== "") this.#names?.label(at, label);
    const steps = this.#raw.map((raw, step) => this.#recordedStep(raw, step));
    const ends = (this.#raw.at(-1)?.states ?? this.#start).map((state) => this.#taskState(state));
    const locks = this.#holds.all.map((hold) => ({
      ...hold,
      label: this.#label(hold.at, hold.label),
    }));
    const { lives = [] } = this.#names ?? {};
    return {
      tasks: this.#taskNames,
      steps,
      ends,
      objects: lives,
      locks,
      edges: this.#edges,
      tables: this.#tables,
    };
  }

  /** Updates locks, objects and edges for a step that performed its operation. */
  #follow(step: number, task: number, wait: Wait, values: { before: number; after: number }): void {
    const { index, words, kind, label } = wait;
    if (kind === "lock" || this.#holds.isTaking(wait, values.before)) {
      const from = this.#holds.releasedBefore(index, task);
      if (from >= 0) this.#edges.push({ from, to: step, why: "unlock" });
    }
    if (kind === "srcuWait") {
      const from = this.#holds.releasedBefore(index, task);
      if (from >= 0) this.#edges.push({ from, to: step, why: "grace period" });
    }
    if (kind === "read" || kind === "peek" || kind === "waitWhile" || kind === "compareExchange") {
      const writer = this.#written.get(index);
      if (writer !== undefined && writer.task !== task)
        this.#edges.push({ from: writer.step, to: step, why: "value" });
    }
    if (
      kind === "write" ||
      kind === "update" ||
      (kind === "compareExchange" && values.before === wait.expected)
    ) {
      this.#written.set(index, { step, task });
    }
    this.#holds.note(step, task, wait, { ...values, label });
    if (kind === ALLOC) this.#names?.alloc(step, index, words, label);
    else this.#names?.touch(step, index, kind === "free" ? words : 1, label, kind === "free");
  }

  #statesOf(run: Execution): RawState[] {
    return run.pending.slice(0, run.tasks).map((wait, task) => {
      const queued = run.frontier.queuedBefore(task);
      const holders = wait === undefined ? [] : this.#holds.holdersOf(wait.index);
      return {
        task,
        wait,
        isWaiting: wait !== undefined && !run.frontier.mayRun(task, wait),
        threw: (run.throwers & (1 << task)) !== 0,
        holders: queued.length > 0 ? queued : holders,
        isQueued: queued.length > 0,
      };
    });
  }

  #changesIn(words: Int32Array): RawStep["changes"] {
    const changes: { at: number; before: number; after: number }[] = [];
    for (let at = CONTROL_WORDS; at < words.length; at++) {
      const before = at < this.#words.length ? this.#words[at]! : 0;
      if (words[at] !== before) changes.push({ at, before, after: words[at]! });
    }
    if (words.length !== this.#words.length) this.#words = new Int32Array(words);
    else for (const { at, after } of changes) this.#words[at] = after;
    return changes;
  }

  #recordedStep(raw: RawStep, step: number): RecordedStep {
    const { task, wait, before, after, clock, tables } = raw;
    const { place, stack } = this.#placeOf(wait);
    const label = this.#label(wait.index, wait.label, wait.kind);
    return {
      task,
      kind: wait.kind,
      choice: choiceName(raw.choice),
      label,
      text: this.#phrase(raw, step, label),
      at: wait.index,
      words: wait.words,
      before,
      after,
      place,
      stack,
      changes: raw.changes.map((change) => this.#wordChange(change)),
      states: raw.states.map((state) => this.#taskState(state)),
      switched: this.#switchBefore(raw, step),
      clock,
      isInPast: true,
      tables,
    };
  }

  #phrase(raw: RawStep, step: number, label: string): string {
    const { wait, before, after } = raw;
    if (raw.choice === TIMEOUT) return `times out on ${label}`;
    if (raw.choice === SPURIOUS) return `wakes up on ${label} spuriously`;
    if (raw.choice === DEATH) return `dies, about to ${wait.kind} ${label}`;
    if (raw.choice === RECHECK) return `${wait.kind} ${label}: rechecks after a death`;
    const format = (value: number): string => this.#names?.formatValue(value) ?? String(value);
    const text = phraseOf(wait, before, { label, before: format(before), after: format(after) });
    if (wait.kind !== "wakeAll" && wait.kind !== "wakeOne") return text;
    // Besides sleeping tasks: those that have queued, and find at their park that the wake has
    // come.
    const late = new Set(
      this.#edges
        .filter(({ from, why }) => from === step && why === "wake")
        .map(({ to }) => this.#raw[to]?.task),
    );
    const woken = this.#taskNames.filter((_, task) => raw.woken.includes(task) || late.has(task));
    return `${text}: ${woken.length === 0 ? "nobody sleeps" : woken.join(", ")}`;
  }

  #label(at: number, label: string, kind?: string): string {
    if (kind === ALLOC || kind === "free") return this.#names?.objectAt(at, label) ?? label;
    return this.#names?.nameOf(at, label) ?? label;
  }

  #wordChange({ at, before, after }: { at: number; before: number; after: number }): WordChange {
    const names = this.#names;
    const format = (value: number): string => names?.formatValue(value) ?? String(value);
    return {
      at,
      name: names?.nameOf(at) ?? String(at),
      before: format(before),
      after: format(after),
    };
  }

  #taskState({ task, wait, isWaiting, threw, holders, isQueued }: RawState): TaskState {
    if (wait === undefined) {
      const state = threw ? "threw" : "over";
      const text = threw ? "throws" : "returns";
      return { state, text, holders: [], kind: "", label: "", place: undefined };
    }
    const label = this.#label(wait.index, wait.label, wait.kind);
    const { place } = this.#placeOf(wait);
    const names = holders.map((holder) =>
      holder === task ? "itself" : (this.#taskNames[holder] ?? ""),
    );
    const text = isWaiting
      ? waitPhrase(wait.kind, label, names, isQueued)
      : `is about to ${wait.kind} ${label}`;
    return { state: isWaiting ? "waiting" : "ready", text, holders, kind: wait.kind, label, place };
  }

  #switchBefore(raw: RawStep, step: number): RecordedStep["switched"] {
    const last = this.#raw[step - 1];
    if (last === undefined || last.task === raw.task) return undefined;
    const left = last.states[last.task];
    if (left?.wait === undefined) return "over";
    return left.isWaiting ? "waiting" : "preempted";
  }

  #placeOf(wait: Wait): { place: SourcePlace | undefined; stack: SourcePlace[] } {
    const stack = placesOf(this.#marks.get(wait)?.stack ?? "");
    return { place: relevantPlace(stack), stack };
  }
}

function isWoken(earlier: RawState | undefined, state: RawState): boolean {
  return (
    earlier?.isWaiting === true &&
    !state.isWaiting &&
    state.wait === earlier.wait &&
    state.wait?.kind === "park"
  );
}

function choiceName(choice: Choice): RecordedStep["choice"] {
  if (choice === RUN) return "run";
  if (choice === TIMEOUT) return "timeout";
  if (choice === SPURIOUS) return "spurious";
  if (choice === DEATH) return "death";
  return choice === RECHECK ? "recheck" : "wake";
}
