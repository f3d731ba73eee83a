/**
 * @module Splits an exploration into parts that have no class in common: by when the first step of one task (`placed`) comes
 * among certain steps of another (`among`) that all conflict with it. A class settles that order, so each class is in one
 * part. In a part, gates enforce the order; they add steps, but their order is forced, so they add no class. So each part
 * is a scenario of its own, and threads that explore the parts have nothing to tell each other.
 *
 * The steps were seen in one execution; {@link isInOrder} looks in every one whether they are there and conflict. If not,
 * nothing is split. Why branches of the search are not handed out instead: what a race in one branch finds may belong into
 * the middle of a later one that another thread has half explored; ignored there, classes are lost (of 1698, 45).
 */

import { CONTROL_WORDS } from "../sync/control-block.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { describe } from "../sync/task.ts";
import type { Task, Wait, Wake } from "../sync/task.ts";
import { Execution } from "./execution.ts";
import { MAY_BLOCK } from "./footprint.ts";
import { Reporter } from "./reporter.ts";
import type { AnyScenario, Liberties } from "./scenario.ts";
import { choiceOf, taskOf } from "./trace.ts";
import type { Trace, Transition } from "./trace.ts";

/** What is put in order. Part k of `ordinals.length + 1`: after k of the steps, before the others. */
export interface Split {
  readonly placed: number;
  readonly among: number;
  /** Which steps of `among`, from 0. */
  readonly ordinals: readonly number[];
}

const DEFAULT_WORDS = 1024;
/** One gate for "after", one for "before". */
const GATES = 2;
const STEPS = 5000;
const MAX_PARTS = 16;

/**
 * The split with the most parts, and among those one that places a task of few steps: the parts are then of about the same
 * size (a task of many steps that begins early leaves more open than one that begins late). Undefined if there is none, or
 * the scenario has a memory of its own.
 */
export function findSplit(scenario: AnyScenario, liberties: Liberties, scans: boolean): Split | undefined {
  // A condition may read anything, so opening a gate would be ordered with it.
  if (scenario.memory !== undefined || liberties.deaths > 0 || scans) return undefined;
  const witness = new Reporter({ withStacks: false });
  const run = new Execution(scenario, { liberties, scans, weaknesses: new Set(), witness, withSites: false });
  try {
    run.restart(0);
    while (run.depth < STEPS && run.listEnabled() > 0) run.step(run.enabled[0]!);
    let best: Split | undefined;
    let bestSteps = Infinity;
    for (let placed = 0; placed < run.tasks; placed++) {
      for (let among = 0; among < run.tasks; among++) {
        const ordinals = among === placed ? [] : conflictsOf(run, placed, among);
        const more = ordinals.length - (best?.ordinals.length ?? 0);
        const steps = run.trace.counts[run.depth * run.tasks + placed]!;
        if (more < 0 || ordinals.length === 0 || (more === 0 && steps >= bestSteps)) continue;
        best = { placed, among, ordinals };
        bestSteps = steps;
      }
    }
    return best;
  } finally {
    run.finish();
  }
}

function conflictsOf(run: Execution, placed: number, among: number): number[] {
  const { trace, footprints } = run;
  const first = positionOf(trace, placed, 0);
  if (first === undefined || MAY_BLOCK[trace.kind[first]!] === 1) return [];
  const ordinals: number[] = [];
  for (let ordinal = 0; ordinals.length < MAX_PARTS - 1; ordinal++) {
    const step = positionOf(trace, among, ordinal);
    if (step === undefined || MAY_BLOCK[trace.kind[step]!] === 1) break;
    if (footprints.conflict(trace.footprint[first]!, trace.footprint[step]!)) ordinals.push(ordinal);
  }
  return ordinals;
}

function positionOf(trace: Trace, task: number, ordinal: number): number | undefined {
  if (ordinal >= trace.counts[trace.length * trace.tasks + task]!) return undefined;
  return trace.positions[(ordinal + 1) * trace.tasks + task];
}

/** The scenario with gates that let only one part of the split happen. */
export function partOf(scenario: AnyScenario, { placed, among, ordinals }: Split, part: number): AnyScenario {
  const words = scenario.words ?? DEFAULT_WORDS;
  const gate = CONTROL_WORDS + words;
  let memory: SharedMemory | undefined;
  const passes = new Map<number, Map<number, Gates>>();
  const at = (task: number, ordinal: number, gates: Gates): void => {
    const ofTask = passes.get(task) ?? new Map<number, Gates>();
    ofTask.set(ordinal, { ...ofTask.get(ordinal), ...gates });
    passes.set(task, ofTask);
  };
  if (part > 0) {
    at(among, ordinals[part - 1]!, { opens: gate });
    at(placed, 0, { passes: gate });
  }
  if (part < ordinals.length) {
    at(placed, 0, { opens: gate + 1 });
    at(among, ordinals[part]!, { passes: gate + 1 });
  }
  const tasks = Object.entries(scenario.tasks).map(([name, make], task): [string, typeof make] => {
    const gates = passes.get(task);
    if (gates === undefined) return [name, make];
    return [name, (shared) => gated(make(shared), gates, () => memory!)]; // setup comes before any task
  });
  return {
    ...scenario,
    words: words + GATES,
    setup(fresh) {
      memory = fresh;
      return scenario.setup(fresh);
    },
    tasks: Object.fromEntries(tasks),
  };
}

/** At a step: the gate that it waits for before, and the one that it opens behind. */
interface Gates {
  readonly passes?: number;
  readonly opens?: number;
}

function* gated(task: Task<unknown>, gates: ReadonlyMap<number, Gates>, memoryOf: () => SharedMemory): Task<unknown> {
  const memory = memoryOf();
  let result: IteratorResult<Wait, unknown> = task.next(0);
  for (let ordinal = 0; result.done !== true; ordinal++) {
    const { passes, opens } = gates.get(ordinal) ?? {};
    if (passes !== undefined) yield describe("waitWhile", memory, passes, 1, "gate", 0);
    const wake: Wake = yield result.value;
    result = task.next(wake);
    if (opens === undefined) continue;
    yield describe("write", memory, opens, 1, "gate");
    memory.words[opens] = 1;
  }
  return result.value;
}

/** How many steps of gates each execution of a part has. */
export function gateSteps({ ordinals }: Split, part: number): number {
  return (part > 0 ? 2 : 0) + (part < ordinals.length ? 2 : 0);
}

/** Whether an execution of the part had the steps of the split, and they conflict. */
export function isInOrder(run: Execution, split: Split, part: number): boolean {
  const { trace, footprints } = run;
  const placed = positionOf(trace, split.placed, part > 0 ? 1 : 0);
  if (placed === undefined) return false;
  const before = part > 0 ? positionOf(trace, split.among, split.ordinals[part - 1]!) : undefined;
  // Between the two, `among` has opened one gate and passed the other.
  const shift = (part > 0 ? 1 : 0) + 1;
  const after =
    part < split.ordinals.length ? positionOf(trace, split.among, split.ordinals[part]! + shift) : undefined;
  const isMissing = (part > 0 && before === undefined) || (part < split.ordinals.length && after === undefined);
  if (isMissing) return false;
  return [before, after].every(
    (step) => step === undefined || footprints.conflict(trace.footprint[step]!, trace.footprint[placed]!),
  );
}

/** The schedule of the scenario itself. */
export function withoutGates(schedule: readonly Transition[], split: Split, part: number): Transition[] {
  const gateOrdinals = new Map<number, Set<number>>();
  const hasBefore = part > 0;
  const hasAfter = part < split.ordinals.length;
  gateOrdinals.set(split.placed, new Set([...(hasBefore ? [0] : []), ...(hasAfter ? [hasBefore ? 2 : 1] : [])]));
  const opens = hasBefore ? [split.ordinals[part - 1]! + 1] : [];
  const passes = hasAfter ? [split.ordinals[part]! + opens.length] : [];
  gateOrdinals.set(split.among, new Set([...opens, ...passes]));
  const seen = new Map<number, number>();
  return schedule.filter((transition) => {
    const task = taskOf(transition);
    const ordinal = seen.get(task) ?? 0;
    seen.set(task, ordinal + 1);
    return choiceOf(transition) !== 0 || gateOrdinals.get(task)?.has(ordinal) !== true;
  });
}
