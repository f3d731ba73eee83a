/**
 * @module What a program means: its states, and what each step makes of one. It is written from the
 * table of operations in src/sync/tasks/step-kinds.ts and the descriptions of the primitives. It
 * shares no code with them, nor with the checker.
 */

import {
  CONDITION,
  CONDITION_MUTEX,
  MUTEX,
  QUEUE,
  REFERENCES,
  compile,
  registersOf,
} from "./instructions.ts";
import type { Instruction } from "./instructions.ts";
import { MUTEXES, PLAIN_WORDS, WORDS } from "./language.ts";
import type { Program } from "./language.ts";
import { copy, line, lineAt, push, taskOf, unline } from "./state.ts";
import type { State, TaskState } from "./state.ts";

/** How a task goes on; from {@link WAKE} on: a wake of one chooses the task WAKE + n. */
export type Choice = number;
export const RUN: Choice = 0;
export const TIMEOUT: Choice = 1;
export const SPURIOUS: Choice = 2;
export const DEATH: Choice = 3;
export const RECHECK: Choice = 4;
/** Nothing that the task does: it is dead, and the reaper ends read sections of it. */
export const RECOVERY: Choice = 5;
export const WAKE: Choice = 6;

export interface Step {
  readonly task: number;
  readonly choice: Choice;
}

const NOBODY = -1;
const SATURATED = -0x40000000;
export const ALL_DONE = 0x3fffffff;

export class Machine {
  readonly program: Program;
  readonly code: readonly (readonly Instruction[])[];

  readonly #spuriousQueueWakes: boolean;

  /** `spuriousQueueWakes`: where each wait may end for no reason, those on the queue may, too. */
  constructor(program: Program, spuriousQueueWakes: boolean) {
    this.program = program;
    this.#spuriousQueueWakes = spuriousQueueWakes;
    this.code = compile(program);
  }

  start(): State {
    const { program } = this;
    const state: State = {
      words: Array.from({ length: WORDS }, () => 0),
      plain: Array.from({ length: PLAIN_WORDS }, () => 0),
      mutexes: Array.from({ length: MUTEXES + 1 }, () => NOBODY),
      readers: 0,
      writer: NOBODY,
      queuedWriters: 0,
      wakes: [0, 0],
      lines: {},
      completions: 0,
      references: program.references,
      srcu: { done: 0, index: 0, phase: "idle", active: [0, 0], wanted: 0 },
      tasks: program.tasks.map(() => ({
        pc: 0,
        status: "runs",
        asleep: false,
        seen: 0,
        result: 0,
        hasWoken: false,
        looked: 0,
        target: 0,
        sections: [],
        net: 0,
        lowest: 0,
        reads: 0,
        plain: [],
      })),
      registers: Array.from({ length: registersOf(program) }, () => 0),
      timeouts: program.timeouts ?? Infinity,
      spurious: program.spurious === "each" ? Infinity : program.spurious,
      deaths: 0,
      stopped: false,
    };
    for (const task of program.tasks.keys()) this.#settle(state, task);
    return state;
  }

  /** What the task is about to do; undefined when it is over. */
  next(state: State, task: number): Instruction | undefined {
    const { status, pc } = taskOf(state, task);
    return status === "runs" ? this.code[task]?.[pc] : undefined;
  }

  /** All that may come next. */
  steps(state: State): Step[] {
    const found: Step[] = [];
    if (state.stopped) return found;
    for (let task = 0; task < state.tasks.length; task++) {
      const next = this.next(state, task);
      const own = taskOf(state, task);
      const add = (choice: Choice): void => void found.push({ task, choice });
      if (own.status === "dead" && own.sections.length > 0) add(RECOVERY);
      if (next === undefined) continue;
      if (this.program.wakeAny && next.does === "wake" && !next.all) {
        const sleepers = lineAt(state, next.at).filter((other) => taskOf(state, other).asleep);
        for (const other of sleepers) add(WAKE + other);
        if (sleepers.length === 0) add(RUN);
      } else if (this.mayRun(state, task)) add(RUN);
      const mayTimeOut =
        next.timed && (own.asleep || (next.does === "completion" && state.completions === 0));
      if (mayTimeOut && state.timeouts > 0) add(TIMEOUT);
      if (this.#mayWake(state, own, next)) add(SPURIOUS);
      if (own.asleep && own.looked < state.deaths) add(RECHECK);
      if (state.deaths < this.program.deaths) add(DEATH);
    }
    return found;
  }

  /** Whether the task can do what it is about to. */
  mayRun(state: State, task: number): boolean {
    const next = this.next(state, task);
    switch (next?.does) {
      case undefined:
        return false;
      case "park":
      case "parked":
        return !taskOf(state, task).asleep;
      case "lock":
      case "relock":
        return state.mutexes[next.at - MUTEX] === NOBODY;
      case "downRead":
        return state.writer === NOBODY && state.queuedWriters === 0;
      case "downWrite":
        return state.writer === NOBODY && state.readers === 0;
      case "completion":
        return state.completions > 0;
      case "syncWait":
        return state.srcu.done >= taskOf(state, task).target;
      default:
        return true;
    }
  }

  #mayWake(state: State, own: TaskState, { does }: Instruction): boolean {
    if (!own.asleep || state.spurious === 0) return false;
    if (this.program.spurious !== "each") return true;
    return !own.hasWoken && (does !== "park" || this.#spuriousQueueWakes);
  }

  /** The state after a step. */
  after(before: State, { task, choice }: Step): State {
    const state = copy(before);
    const own = taskOf(state, task);
    if (choice === RECOVERY) {
      this.#recover(state, own);
      return state;
    }
    const next = this.next(state, task);
    if (next === undefined) throw new Error("a task that is over does nothing");
    own.plain = [];
    if (choice === DEATH) this.#die(state, task, next);
    else if (choice === RUN || choice >= WAKE) this.#run(state, task, next, choice);
    else this.#leave(state, task, next, choice);
    this.#settle(state, task);
    return state;
  }

  /** The wait of a task ends by itself. */
  #leave(state: State, task: number, next: Instruction, choice: Choice): void {
    const own = taskOf(state, task);
    own.asleep = false;
    if (choice === TIMEOUT) state.timeouts--;
    else if (choice === SPURIOUS) state.spurious--;
    if (choice !== RECHECK) own.hasWoken = choice === SPURIOUS;
    else own.looked = state.deaths;
    unline(state, next.at, task);
    own.result = choice === TIMEOUT ? 2 : 1;
    if (next.does === "completion") {
      state.registers[next.number] = 2;
      own.pc++;
    } else if (next.does === "park") own.pc = choice === TIMEOUT ? own.pc + 1 : next.to;
    else {
      if (next.at < MUTEX) state.registers[next.number] = own.result;
      own.pc++;
    }
  }

  #die(state: State, task: number, next: Instruction): void {
    const own = taskOf(state, task);
    if (state.mutexes.includes(task) || state.writer === task) state.stopped = true;
    state.readers -= own.reads;
    if (next.does === "downWrite") state.queuedWriters--;
    unline(state, next.at, task);
    own.asleep = false;
    own.status = "dead";
    state.deaths++;
  }

  /** All sections of one index end at once: first those of index 0, then those of index 1. */
  #recover({ srcu }: State, own: TaskState): void {
    const index = Math.min(...own.sections);
    const others = own.sections.filter((other) => other !== index);
    srcu.active[index]! -= own.sections.length - others.length; // 0 or 1
    own.sections = others;
    push(srcu);
  }

  #run(state: State, task: number, next: Instruction, choice: Choice): void {
    const own = taskOf(state, task);
    const { at, number } = next;
    const set = (value: number): void => void (state.registers[number] = value + 1);
    own.pc++;
    switch (next.does) {
      case "load":
      case "test0":
      case "store":
      case "add":
      case "exchange":
        return this.#access(state, own, next);
      case "lock":
        state.mutexes[at - MUTEX] = task;
        return;
      case "relock":
        state.mutexes[at - MUTEX] = task;
        return set(own.result - 1);
      case "tryLock":
        set(state.mutexes[at - MUTEX] === NOBODY ? 1 : 0);
        if (state.mutexes[at - MUTEX] === NOBODY) state.mutexes[at - MUTEX] = task;
        else own.pc = next.to;
        return;
      case "unlock":
        state.mutexes[at - MUTEX] = NOBODY;
        return;
      case "wake":
        return this.#wake(state, next, choice);
      default:
        return this.#queue(state, task, next);
    }
  }

  #queue(state: State, task: number, next: Instruction): void {
    const own = taskOf(state, task);
    const { at, number } = next;
    const set = (value: number): void => void (state.registers[number] = value + 1);
    switch (next.does) {
      case "enqueue":
        own.seen = state.wakes[0] ?? 0;
        return line(state, at, task);
      case "test":
      case "lastTest":
        own.result = state.words[next.a] === next.b ? 1 : 0;
        if (next.does === "test" && own.result === 1) own.pc = next.to;
        return;
      case "park":
        own.hasWoken = false;
        own.pc = next.to;
        return;
      case "dequeue":
        own.hasWoken = false;
        unline(state, at, task);
        return set(own.result);
      case "sleep":
        if (state.words[at] === next.a) {
          own.asleep = true;
          line(state, at, task);
        } else {
          own.pc = next.to;
          set(0);
        }
        return;
      case "parked":
        own.hasWoken = false;
        unline(state, at, task);
        own.result = 1;
        if (at < MUTEX) set(0);
        return;
      case "release":
        state.mutexes[CONDITION_MUTEX] = NOBODY;
        own.seen = state.wakes[1] ?? 0;
        own.asleep = true;
        return line(state, at, task);
      default:
        return this.#manage(state, task, next);
    }
  }

  #access(state: State, own: TaskState, { does, at, a, b, to, number }: Instruction): void {
    const value = state.words[at] ?? 0;
    if (does === "test0") {
      if (value !== 0) own.pc = to;
      return;
    }
    if (does === "store") {
      state.words[at] = a;
      return;
    }
    if (does === "add") state.words[at] = value + 1;
    else if (does === "load" && value === 0) own.pc = to;
    else if (does === "exchange" && value === a) state.words[at] = b;
    else if (does === "exchange") own.pc = to;
    state.registers[number] = value + 1;
  }

  #wake(state: State, { at, a, all }: Instruction, choice: Choice): void {
    if (a === 1) state.wakes[at === QUEUE ? 0 : 1]!++; // there are two
    const sleepers = lineAt(state, at).filter((task) => taskOf(state, task).asleep);
    const woken = choice >= WAKE ? [choice - WAKE] : all ? sleepers : sleepers.slice(0, 1);
    for (const task of woken) taskOf(state, task).asleep = false;
  }

  #manage(state: State, task: number, next: Instruction): void {
    const own = taskOf(state, task);
    const { number } = next;
    const succeed = (does: boolean): boolean => {
      state.registers[number] = does ? 2 : 1;
      if (!does) own.pc = next.to;
      return does;
    };
    switch (next.does) {
      case "downRead":
        state.readers++;
        own.reads++;
        return;
      case "tryDownRead":
        if (!succeed(state.writer === NOBODY && state.queuedWriters === 0)) return;
        state.readers++;
        own.reads++;
        return;
      case "upRead":
        state.readers--;
        own.reads--;
        return;
      case "queueWrite":
        state.queuedWriters++;
        return;
      case "downWrite":
        state.queuedWriters--;
        state.writer = task;
        return;
      case "tryDownWrite":
        if (succeed(state.writer === NOBODY && state.queuedWriters === 0 && state.readers === 0))
          state.writer = task;
        return;
      case "upWrite":
        state.writer = NOBODY;
        return;
      case "downgrade":
        state.writer = NOBODY;
        state.readers++;
        own.reads++;
        return;
      case "complete":
        if (next.all) state.completions = ALL_DONE;
        else if (state.completions !== ALL_DONE) state.completions++;
        return;
      case "completion":
        state.registers[number] = 1;
        if (state.completions !== ALL_DONE) state.completions--;
        return;
      default:
        return this.#count(state, own, next);
    }
  }

  #count(state: State, own: TaskState, next: Instruction): void {
    const { references, srcu } = state;
    const move = (value: number): void => {
      own.net += value - references;
      own.lowest = Math.min(own.lowest, own.net);
      state.references = value;
    };
    const record = (does: boolean): void => void (state.registers[next.number] = does ? 2 : 1);
    switch (next.does) {
      case "get":
        move(references > 0 ? references + 1 : SATURATED);
        if (references === 0) own.status = "threw";
        else record(true);
        return;
      case "getNotZero":
        record(references !== 0);
        if (references > 0) move(references + 1);
        else if (references === 0) own.pc = next.to;
        return;
      case "put":
        move(references > 0 ? references - 1 : SATURATED);
        if (references === 0) own.status = "threw";
        else record(references === 1);
        if (references !== 1) own.pc = next.to;
        return;
      case "enter":
        srcu.active[srcu.index]!++; // 0 or 1
        own.sections.push(srcu.index);
        return;
      case "leave": {
        const index = own.sections.pop() ?? 0;
        const wasLast = srcu.active[index]!-- === 1; // 0 or 1
        if (wasLast && srcu.phase !== "idle") push(srcu);
        else own.pc = next.to;
        return;
      }
      case "syncStart":
        own.target = srcu.done + (srcu.phase === "idle" ? 1 : 2);
        srcu.wanted = Math.max(srcu.wanted, own.target);
        return push(srcu);
      case "syncWait":
      case "settle":
        return;
      default:
        throw new Error(`there is no ${next.does} at ${REFERENCES}`);
    }
  }

  /** What the task does up to its next step. */
  #settle(state: State, task: number): void {
    const own = taskOf(state, task);
    for (let next = this.next(state, task); next?.does === "plain"; next = this.next(state, task)) {
      own.plain.push([next.at, next.all]);
      if (next.all) state.plain[next.at] = next.number + 1;
      else state.registers[next.number] = (state.plain[next.at] ?? 0) + 1;
      own.pc++;
    }
    if (own.status !== "runs") return;
    const next = this.next(state, task);
    if (next === undefined) own.status = "ended";
    else if (next.does === "park") own.asleep = own.seen === state.wakes[0];
    else if (next.does === "parked" && next.at === CONDITION)
      own.asleep = own.seen === state.wakes[1];
  }
}

/** How an execution has ended, in a form that render.ts makes of what the checker sees, too. */
export function outcomeOf(machine: Machine, state: State): string {
  if (state.stopped) return "stopped";
  const ends = state.tasks.map(({ status }, task) => {
    return status === "runs" ? `waits in ${machine.next(state, task)?.number ?? ""}` : status;
  });
  const { words, completions, references, registers } = state;
  return [ends.join(", "), words.join(), completions, references, registers.join()].join(" | ");
}
