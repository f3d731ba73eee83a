/** @module Turns what goes wrong in an execution into findings, one for each bug. */

import { FreedObjectUse } from "../../memory/layout/poison.ts";
import { LockdepError } from "../../sync/lockdep/lockdep.ts";
import type { LockdepKind } from "../../sync/lockdep/lockdep.ts";
import { panicInfo } from "../../sync/death/panic.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { Execution } from "../execution/execution.ts";
import type { FindingKind } from "../scenario.ts";
import { PARK, WAKES } from "../steps/kinds.ts";
import { formatPlace, formatStack, placesOf, relevantPlace } from "../steps/source-places.ts";
import { taskOf } from "../steps/trace.ts";
import type { Leak } from "../watch/leaks.ts";
import type { NotLinearizable } from "../watch/linearizability.ts";
import type { PlainAccess } from "../watch/plain-accesses.ts";
import { StaleTranslation } from "../watch/translations.ts";
import type { ErrorSink } from "../watch/error-sink.ts";
import { findingIdentity, isSmaller } from "./finding.ts";
import type { Finding, FoundStack, Site } from "./finding.ts";
import type { Lasso } from "./lasso.ts";
import { formatToken } from "./token.ts";

/** The operation of a site at which a call lacks its `yield*`. */
const FORGOTTEN = "call without yield*";
/** How many steps of a loop a message has. */
const STEPS_IN_WORDS = 12;

const lockdepKinds: Readonly<Record<LockdepKind, FindingKind>> = {
  order: "lock-order",
  recursion: "lock-recursion",
  sleep: "sleep-in-atomic",
  "not-owner": "lock-misuse",
  "held-at-end": "lock-misuse",
  "not-held": "lock-misuse",
};

export class Reporter implements ErrorSink<Execution> {
  readonly #found = new Map<string, Finding>();
  readonly #withStacks: boolean;
  /** How many sightings there were, of known and of new findings. */
  sightings = 0;

  /** With stacks: slow, for replays. */
  constructor(options: { readonly withStacks: boolean }) {
    this.#withStacks = options.withStacks;
  }

  /** A finding that may explain the others comes first: an operation that was never run. */
  get findings(): readonly Finding[] {
    const all = Array.from(this.#found.values());
    const isCause = ({ sites }: Finding): boolean => sites[0]?.operation === FORGOTTEN;
    return [...all.filter(isCause), ...all.filter((finding) => !isCause(finding))];
  }

  /** A task called an operation and did not run it. */
  forgotten(run: Execution, task: number, call: string, place: string | undefined): void {
    const name = run.names[task] ?? "";
    const where = place === undefined ? "" : ` at ${place}`;
    const message = `${name} calls ${call} without yield*${where}, so nothing of it happens: write yield* before the call`;
    const site: Site = {
      ...lastSite(run, task),
      operation: FORGOTTEN,
      label: call,
      ...(place !== undefined && { place }),
    };
    this.#add(run, "error", message, [site], [task]);
  }

  /**
   * `step` changed the condition of a sleeping task, but the condition does not declare that it
   * reads a word that the step touches.
   */
  undeclaredRead(run: Execution, task: number, step: number): void {
    const name = run.names[task] ?? "";
    const writer = siteOf(run, step);
    const message = `the condition that ${name} waits for reads what ${writer.task} changes by "${writer.operation}" of ${writer.label}, which is not among its \`reads\`: name every word that it reads, or none`;
    this.#add(run, "error", message, [writer, pendingSite(run, task)], [task]);
  }

  /** Another exploration begins: nothing is known. */
  clear(): void {
    this.#found.clear();
  }

  /** Adds a finding of an earlier part of the exploration. */
  adopt(finding: Finding): void {
    const known = this.#found.get(findingIdentity(finding));
    if (known === undefined || known.schedule.length > finding.schedule.length) {
      this.#found.set(findingIdentity(finding), finding);
    }
  }

  threw(run: Execution, task: number, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    const stacks = this.#stacksOf(error);
    const life = error instanceof FreedObjectUse ? run.watchers.lives.holding(error.at) : undefined;
    if (life?.freeStep !== undefined) {
      const freed = siteOf(run, life.freeStep);
      const use = { ...lastSite(run, task), operation: "use", label: life.label, at: life.at };
      const says = `${use.task} uses ${life.label}, which ${freed.task} freed`;
      const tasks = [taskOf(run.trace.transition[life.freeStep]!), task];
      this.#add(run, "use-after-free", says, [...allocationOf(run, life.at), freed, use], tasks, {
        stacks,
      });
      return;
    }
    if (error instanceof StaleTranslation) {
      const changes = lastChange(run, error.entryIndex);
      const tasks = changes.map(({ step }) => taskOf(run.trace.transition[step]!));
      this.#add(
        run,
        "stale-translation",
        message,
        [...changes, lastSite(run, task)],
        [...tasks, task],
        { stacks },
      );
      return;
    }
    this.#add(run, kindOfError(error), message, [lastSite(run, task)], [task], { stacks });
  }

  lockdep(run: Execution, error: LockdepError): void {
    const task = run.memory.agentId - 1;
    const stacks = this.#stacksOf(error);
    this.#add(run, lockdepKinds[error.kind], error.message, [lastSite(run, task)], [task], {
      stacks,
    });
  }

  badAccess(run: Execution, kind: "use-after-free" | "double-free", freeStep: number): void {
    const [freed, use] = [siteOf(run, freeStep), siteOf(run, run.depth)];
    const verb = kind === "double-free" ? "frees again" : "uses";
    const message = `${use.task} ${verb} ${use.label}, which ${freed.task} freed`;
    const tasks = [freeStep, run.depth].map((step) => taskOf(run.trace.transition[step]!));
    const sites = [...allocationOf(run, freed.at), freed, use];
    this.#add(run, kind, message, sites, tasks, { length: run.depth + 1 });
  }

  /** The task waits on a word in freed memory. */
  badWait(run: Execution, task: number, freeStep: number): void {
    const freed = siteOf(run, freeStep);
    const waits = pendingSite(run, task);
    const message = `${waits.task} uses ${waits.label}, which ${freed.task} freed`;
    const sites = [...allocationOf(run, freed.at), freed, waits];
    this.#add(run, "use-after-free", message, sites, [
      taskOf(run.trace.transition[freeStep]!),
      task,
    ]);
  }

  race(run: Execution, earlier: PlainAccess, later: PlainAccess): void {
    const accesses = [earlier, later];
    const sites = accesses.map(({ task, depth, isWrite, label, at, mark }): Site => {
      const operation = isWrite ? "plain write" : "plain read";
      const place = relevantPlace(placesOf(mark?.stack ?? ""));
      const site: Site = { task: run.names[task] ?? "", step: depth, operation, label, at };
      return place === undefined ? site : { ...site, place: formatPlace(place) };
    });
    const [first, second] = accesses.map(({ isWrite, held }, i) => {
      const locks = held.length === 0 ? "no lock" : held.join(", ");
      return `${sites[i]?.task ?? ""} ${isWrite ? "writes" : "reads"} it holding ${locks}`;
    });
    const message = `nothing orders two accesses to ${later.label}: ${first ?? ""}; ${second ?? ""}`;
    const tasks = accesses.map(({ task }) => task);
    this.#add(run, "data-race", message, sites, tasks);
  }

  /** An execution has ended: some tasks are not over, and none can go on. */
  stuck(run: Execution): void {
    const stuck = Array.from({ length: run.tasks }, (_, task) => task).filter(
      (task) => run.pending[task] !== undefined && !run.frontier.isIdle(task),
    );
    // badWait has reported it
    if (stuck.some((task) => run.watchers.freedUnder(task) !== undefined)) return;
    const waits = stuck.map((task) => waitOf(run, task));
    const isLostWake =
      stuck.some((task) => run.pendingCode[task] === PARK) &&
      waits.every(({ holders }) => !holders);
    const lines = waits.map(({ text }) => text);
    const sites = stuck.map((task) => pendingSite(run, task));
    this.#add(run, isLostWake ? "lost-wakeup" : "deadlock", lines.join("; "), sites, stuck);
  }

  /** An invariant of the scenario does not hold after the latest step. */
  broken(run: Execution, invariant: string, error: unknown): void {
    const message = `${invariant}: ${error instanceof Error ? error.message : String(error)}`;
    const sites = run.depth === 0 ? [] : [siteOf(run, run.depth - 1)];
    const tasks = run.depth === 0 ? [] : [taskOf(run.trace.transition[run.depth - 1]!)];
    this.#add(run, "invariant", message, sites, tasks);
  }

  notLinearizable(run: Execution, { message, agents }: NotLinearizable): void {
    const tasks = agents.map((agent) => agent - 1);
    const sites = tasks.map((task) => lastSite(run, task));
    this.#add(run, "not-linearizable", message, sites, tasks);
  }

  leaked(run: Execution, { kind, message, steps }: Leak): void {
    const sites = steps.map((step) => siteOf(run, step));
    const tasks = steps.map((step) => taskOf(run.trace.transition[step]!));
    this.#add(run, kind, message, sites, tasks);
  }

  stillListed(run: Execution, task: number, lock: string): void {
    const name = run.names[task] ?? "";
    const message = `the table of what the thread of ${name} holds still lists ${lock}, which it has given back`;
    this.#add(run, "lock-misuse", message, [lastSite(run, task)], [task]);
  }

  /** A death has stopped the machine, and the scenario forbids that. */
  stopped(run: Execution, task: number): void {
    const message = panicInfo(run.memory)?.message ?? "";
    this.#add(run, "owner-died", message, [lastSite(run, task)], [task]);
  }

  /** Every task returned, and the scenario says that the outcome is wrong. */
  wrongOutcome(run: Execution, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#add(run, "assertion", message, [], []);
  }

  /**
   * The execution is in an endless cycle: a livelock, or a spin if it leaves out a task that could
   * go on.
   */
  reportLoop(run: Execution, { steps, stem, tasks, leftOut }: Lasso): void {
    const namesOf = (some: readonly number[]): string =>
      some.map((task) => run.names[task] ?? "").join(" and ");
    const goes = `${namesOf(tasks)} ${tasks.length > 1 ? "go" : "goes"} round for ever`;
    const loop = `${steps} ${steps > 1 ? "steps lead" : "step leads"} back to where ${steps > 1 ? "they" : "it"} began, from step ${stem + 1} on: ${stepsInWords(run, stem, steps)}`;
    const sites = tasks.map((task) => siteInLoop(run, task, steps));
    if (leftOut.length === 0) this.#add(run, "livelock", `${goes}: ${loop}`, sites, tasks);
    else {
      const remedy = "say what is waited for, with waitWhile of a Cell or with a wait queue";
      const message = `${goes} while ${namesOf(leftOut)} could go on: ${remedy}; ${loop}`;
      this.#add(run, "endless", message, sites, tasks);
    }
  }

  endless(run: Execution): void {
    this.#add(run, "endless", `the execution has not ended after ${run.depth} steps`, [], []);
  }

  #stacksOf(error: unknown): readonly FoundStack[] {
    if (!this.#withStacks || !(error instanceof Error)) return [];
    if (!(error instanceof LockdepError))
      return [{ title: "thrown", frames: formatStack(error.stack ?? "") }];
    const { firstSite, secondSite } = error;
    return [
      { title: "first", frames: formatStack(firstSite) },
      { title: "then", frames: formatStack(secondSite) },
    ].filter(({ frames }) => frames.length > 0);
  }

  #add(
    run: Execution,
    kind: FindingKind,
    message: string,
    sites: readonly Site[],
    tasks: readonly number[],
    more: { readonly length?: number; readonly stacks?: readonly FoundStack[] } = {},
  ): void {
    this.sightings++;
    const { length = run.depth, stacks = [] } = more;
    const [line = ""] = message.split("\n");
    const identity = findingIdentity({ kind, message, sites });
    const { preemptions } = run;
    const known = this.#found.get(identity);
    if (known !== undefined && !isSmaller({ preemptions, steps: length }, known)) return;
    const schedule = Array.from(run.trace.transition.subarray(0, length));
    const threads = Array.from(new Set(tasks), (task) => run.names[task] ?? "");
    const token = formatToken(schedule);
    this.#found.set(identity, {
      kind,
      message: line,
      sites,
      threads,
      ...(stacks.length > 0 && { stacks }),
      schedule,
      steps: length,
      preemptions,
      token,
    });
  }
}

function kindOfError(error: unknown): FindingKind {
  if (error instanceof LockdepError) return lockdepKinds[error.kind];
  if (!(error instanceof Error)) return "error";
  if (error.message.startsWith("refcount ")) return "refcount";
  return error.name.startsWith("Assertion") ? "assertion" : "error";
}

function siteOf(run: Execution, step: number): Site {
  const { trace } = run;
  const task = run.names[taskOf(trace.transition[step]!)] ?? "";
  const { label, index } = trace.waits[step]!;
  return { task, step, operation: run.trace.kindName(step), label, at: index };
}

/** The allocation of the object at `at`, if a step allocated it. */
function allocationOf(run: Execution, at: number): Site[] {
  const step = run.watchers.lives.holding(at)?.allocStep;
  return step === undefined ? [] : [siteOf(run, step)];
}

/** The last step that wrote the word, if there is one. */
function lastChange(run: Execution, word: number): Site[] {
  const { trace } = run;
  for (let step = run.depth - 1; step >= 0; step--) {
    const wait = trace.waits[step];
    if (
      wait === undefined ||
      wait.kind === "read" ||
      wait.kind === "peek" ||
      word < wait.index ||
      word >= wait.index + wait.words
    )
      continue;
    return [siteOf(run, step)];
  }
  return [];
}

/** The last step of the task; its start if it has taken none. */
function lastSite(run: Execution, task: number): Site {
  for (let step = run.depth - 1; step >= 0; step--) {
    if (taskOf(run.trace.transition[step]!) === task) return siteOf(run, step);
  }
  return { task: run.names[task] ?? "", step: 0, operation: "start", label: "", at: 0 };
}

function pendingSite(run: Execution, task: number): Site {
  const wait = run.pending[task];
  const operation = wait?.kind ?? "";
  return {
    task: run.names[task] ?? "",
    step: run.depth,
    operation,
    label: wait?.label ?? "",
    at: wait?.index ?? 0,
  };
}

/**
 * A step of the task in the loop at the end of the execution. It is the same one wherever the loop
 * is entered.
 */
function siteInLoop(run: Execution, task: number, steps: number): Site {
  const sites = Array.from({ length: steps }, (_, i) => run.depth - steps + i)
    .filter((step) => taskOf(run.trace.transition[step]!) === task)
    .map((step) => siteOf(run, step));
  const nameOf = ({ label, operation }: Site): string => `${label} ${operation}`;
  return sites.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))[0] ?? lastSite(run, task);
}

/** `a read x, b write y`, of the first steps. */
function stepsInWords(run: Execution, from: number, steps: number): string {
  const words = Array.from({ length: Math.min(steps, STEPS_IN_WORDS) }, (_, i) => {
    const { task, operation, label } = siteOf(run, from + i);
    return `${task} ${operation} ${label}`;
  });
  return words.join(", ") + (steps > words.length ? ", ..." : "");
}

/** What the task waits for, and whether other tasks hold it. */
function waitOf(
  run: Execution,
  task: number,
): { readonly text: string; readonly holders: boolean } {
  const wait = run.pending[task];
  const name = run.names[task] ?? "";
  const text = `${name} waits for ever (${wait?.kind ?? ""} of ${wait?.label ?? ""})`;
  if (wait === undefined) return { text, holders: false };
  const queued = run.frontier.queuedBefore(task);
  if (queued.length > 0) {
    return {
      text: `${text}, behind ${queued.map((other) => run.names[other] ?? "").join(" and ")}`,
      holders: true,
    };
  }
  const holders = run
    .holdersOf(wait.index)
    .filter((holder) => holder !== task || wait.kind === "lock");
  if (holders.length > 0) {
    const names = holders.map((holder) => run.names[holder] ?? "");
    const verb = wait.kind === "srcuWait" ? "reads" : names.length > 1 ? "hold" : "holds";
    return { text: `${text}, which ${names.join(" and ")} ${verb}`, holders: true };
  }
  if (wait.kind === "completionWait")
    return { text: `${text}, and nobody is left to complete it`, holders: false };
  return wait.kind === "park"
    ? { text: `${text}${lastWake(run, wait)}`, holders: false }
    : { text, holders: false };
}

/** The last wake of a queue in which a task sleeps for ever. */
function lastWake(run: Execution, { index }: Wait): string {
  const { trace } = run;
  for (let step = run.depth - 1; step >= 0; step--) {
    if (trace.index[step] !== index || WAKES[trace.kind[step]!] === 0) continue;
    return `: ${run.names[taskOf(trace.transition[step]!)] ?? ""} woke the queue before, at step ${step + 1}`;
  }
  return ": nobody wakes it";
}
