/** @module The states of a program: what the machine of machine.ts goes through. */

export interface TaskState {
  pc: number;
  status: "runs" | "ended" | "threw" | "dead";
  asleep: boolean;
  /** What the word that it parks on held. */
  seen: number;
  /** What its wait comes to. */
  result: number;
  /** Its wait has ended for no reason, and it has begun no other since. */
  hasWoken: boolean;
  /** Deaths that it has looked up after. */
  looked: number;
  /** The grace period that it waits for. */
  target: number;
  /** Index of each read section that it is in; if it is dead, until the reaper ends it. */
  sections: number[];
  /** References that it took, less those that it gave back: now, and at the lowest. */
  net: number;
  lowest: number;
  /** How often it is inside the semaphore. */
  reads: number;
  /** What it did plainly since its latest step: word, and whether it wrote. */
  plain: (readonly [number, boolean])[];
}

export interface Srcu {
  done: number;
  index: number;
  phase: "idle" | "drains" | "flipped";
  active: number[];
  wanted: number;
}

export interface State {
  words: number[];
  plain: number[];
  /** The holder of each mutex, -1 for nobody. */
  mutexes: number[];
  readers: number;
  writer: number;
  queuedWriters: number;
  /** Wakes of the queue, and of the condition. */
  wakes: number[];
  /** Who queues where, in order. */
  lines: Record<number, number[]>;
  completions: number;
  references: number;
  srcu: Srcu;
  tasks: TaskState[];
  registers: number[];
  timeouts: number;
  spurious: number;
  deaths: number;
  /** Somebody died who held a mutex, or the semaphore for writing. */
  stopped: boolean;
}

/**
 * A grace period begins when one is wanted; it waits for those who may still use the other index,
 * flips, waits for the old.
 */
export function push(srcu: Srcu): void {
  for (;;) {
    if (srcu.phase === "idle") {
      if (srcu.done >= srcu.wanted) return;
      srcu.phase = "drains";
    }
    if (srcu.active[srcu.index ^ 1] !== 0) return;
    if (srcu.phase === "drains") {
      srcu.index ^= 1;
      srcu.phase = "flipped";
    } else {
      srcu.done++;
      srcu.phase = "idle";
    }
  }
}

export function taskOf(state: State, task: number): TaskState {
  const found = state.tasks[task];
  if (found === undefined) throw new RangeError(`there is no task ${task}`);
  return found;
}

export function lineAt(state: State, at: number): readonly number[] {
  return state.lines[at] ?? [];
}

export function unline(state: State, at: number, task: number): void {
  state.lines[at] = lineAt(state, at).filter((other) => other !== task);
}

export function line(state: State, at: number, task: number): void {
  unline(state, at, task);
  state.lines[at] = [...lineAt(state, at), task];
}

export function copy(state: State): State {
  return {
    ...state,
    words: [...state.words],
    plain: [...state.plain],
    mutexes: [...state.mutexes],
    wakes: [...state.wakes],
    lines: { ...state.lines },
    srcu: { ...state.srcu, active: [...state.srcu.active] },
    tasks: state.tasks.map((task) => ({ ...task, sections: [...task.sections] })),
    registers: [...state.registers],
  };
}

/** Equal for equal states. */
export function signature({ lines, tasks, ...rest }: State): string {
  const queued = Object.entries(lines).filter(([, queue]) => queue.length > 0);
  return JSON.stringify([queued, tasks.map((task) => Object.values(task)), Object.values(rest)]);
}
