/**
 * @module A thread of a parallel exploration: loads the scenario by the address of its module, and
 * explores the parts that it is told to. Between executions, a few times a second, it looks for
 * messages.
 */

import { enterWorker } from "../../host/worker-scope.ts";
import type { WorkerScope } from "../../host/worker-scope.ts";
import { EngineFault, UncontrolledNondeterminism } from "../scenario.ts";
import type { AnyScenario } from "../scenario.ts";
import { requireSameFingerprint } from "../session/checkpoint.ts";
import type { Exploration } from "../session/exploration.ts";
import { findEqualTasks } from "../session/find-equal-tasks.ts";
import { fingerprintOf } from "../session/fingerprint.ts";
import { Session, budgetOf } from "../session/session.ts";
import { DependsOnMore } from "../steps/dependence.ts";
import type { Dependence } from "../steps/dependence.ts";
import type { EqualTasks } from "../steps/equal-tasks.ts";
import type { StepOrder } from "../steps/step-order.ts";
import type {
  ExplorerStart,
  FromExplorer,
  ParallelOptions,
  ToExplorer,
} from "./explorer-messages.ts";
import { findSplit, isOrderOfClass, orderOf } from "./order-split.ts";
import type { Split } from "./order-split.ts";

/**
 * Long, for each pause is lost time: fib(5) by two Workers took 2.4 to 2.9 s with 40 ms, 1.7 to 1.9
 * s with 200.
 */
const SLICE_MS = 200;
const PROGRESS_MS = 100;

/** An execution was not as the split needs it. */
class NeedsWhole extends Error {}

/** Messages, and the pause in which they come in. */
class Line {
  readonly #scope: WorkerScope;
  readonly #waiting: ToExplorer[] = [];
  #wake: (() => void) | undefined;

  constructor(scope: WorkerScope) {
    this.#scope = scope;
    scope.onMessage((message) => {
      this.#waiting.push(message as ToExplorer);
      this.#wake?.();
    });
  }

  say(message: FromExplorer): void {
    this.#scope.post(message);
  }

  /** One that has come in. */
  take(): ToExplorer | undefined {
    return this.#waiting.shift();
  }

  async next(): Promise<ToExplorer> {
    for (;;) {
      const message = this.take();
      if (message !== undefined) return message;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /**
   * Lets messages come in. By a timer: a message to itself would be followed by the next before
   * anyone else's.
   */
  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** Goes on to the end, or until it is told to stop. */
async function finish(line: Line, session: Session): Promise<Exploration> {
  let nextProgressMs = performance.now() + PROGRESS_MS;
  for (;;) {
    const sliceEndMs = performance.now() + SLICE_MS;
    const end = session.search(() => performance.now() >= sliceEndMs);
    if (end !== undefined) return session.result(end);
    await line.pause();
    if (line.take()?.kind === "stop") return session.result("cancelled");
    if (performance.now() < nextProgressMs) continue;
    nextProgressMs = performance.now() + PROGRESS_MS;
    line.say({ kind: "progress", so: session.progress() });
  }
}

/** What is explored, and how. */
interface Subject {
  readonly scenario: AnyScenario;
  readonly dependence: Dependence;
  readonly fingerprint: string;
  readonly split: Split | undefined;
  readonly equal: readonly EqualTasks[];
}

async function exploreWhole(
  line: Line,
  subject: Subject,
  options: ParallelOptions,
): Promise<Exploration> {
  const { scenario, dependence, fingerprint, equal } = subject;
  const session = new Session(scenario, options, {
    dependence,
    fingerprint,
    equal,
    from: options.resumeFrom,
  });
  try {
    return await finish(line, session);
  } finally {
    session.run.finish();
  }
}

async function explorePart(
  line: Line,
  { scenario, dependence, fingerprint }: Subject,
  order: StepOrder,
  options: ParallelOptions,
): Promise<Exploration> {
  let isSplit = true;
  const ended = (run: Session["run"]): void => {
    isSplit &&= isOrderOfClass(run, order);
  };
  const start = { dependence, fingerprint, from: undefined, order };
  const session = new Session(scenario, { ...options, observer: { ended } }, start);
  let seen: Exploration;
  try {
    seen = await finish(line, session);
  } catch (error) {
    // Also what comes of an order that is not one of classes. If it is not that, the whole
    // exploration will tell.
    if (error instanceof UncontrolledNondeterminism || error instanceof EngineFault)
      throw new NeedsWhole();
    throw error;
  } finally {
    session.run.finish();
  }
  if (!isSplit) throw new NeedsWhole();
  return seen;
}

async function findScenario(module: string, name: string): Promise<AnyScenario> {
  const exported = (await import(module)) as Readonly<Record<string, unknown>>;
  const all = Object.values(exported).flatMap((value) =>
    Array.isArray(value) ? (value as unknown[]) : [value],
  );
  for (const value of all) {
    if (typeof value !== "object" || value === null || !("tasks" in value) || !("name" in value))
      continue;
    if (value.name === name) return value as AnyScenario;
  }
  throw new Error(
    `Cannot explore "${name}": ${module} exports no scenario of that name, alone or in an array`,
  );
}

async function work(line: Line, start: ExplorerStart): Promise<void> {
  const { options, dependence } = start;
  const scenario = await findScenario(start.module, start.scenario);
  const fingerprint = fingerprintOf(scenario, budgetOf(options), dependence);
  if (options.resumeFrom !== undefined) requireSameFingerprint(options.resumeFrom, fingerprint);
  const equal = findEqualTasks(scenario, options, dependence);
  // Equal tasks in one order are more than parts of all orders.
  const split =
    start.maySplit && equal.length === 0
      ? findSplit(scenario, budgetOf(options), dependence)
      : undefined;
  const subject: Subject = { scenario, dependence, fingerprint, split, equal };
  line.say({
    kind: "ready",
    fingerprint,
    parts: split === undefined ? 0 : split.ordinals.length + 1,
  });
  for (;;) {
    const message = await line.next();
    if (message.kind === "stop") continue;
    const { part } = message;
    const result =
      part === undefined || split === undefined
        ? await exploreWhole(line, subject, message.options)
        : await explorePart(line, subject, orderOf(split, part), message.options);
    line.say({ kind: "result", result });
  }
}

async function main(): Promise<void> {
  const scope = enterWorker();
  const line = new Line(scope);
  try {
    await work(line, (await scope.start) as ExplorerStart);
  } catch (error) {
    if (error instanceof DependsOnMore) line.say({ kind: "depends-on-more", more: error.more });
    else if (error instanceof NeedsWhole) line.say({ kind: "needs-whole" });
    else {
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      line.say({ kind: "failed", name, message, stack: stack ?? "" });
    }
  }
}

await main();
