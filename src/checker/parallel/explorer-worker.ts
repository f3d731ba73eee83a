/**
 * @module A thread of a parallel exploration. It loads the scenario from its module and explores
 * the parts that it is sent. A few times a second, between two executions, it receives messages.
 */

import { importExploredForm } from "./explored-form.ts";
import { enterWorker } from "../../host/worker-scope.ts";
import type { WorkerScope } from "../../host/worker-scope.ts";
import { EngineFault, UncontrolledNondeterminism } from "../scenario.ts";
import type { AnyScenario } from "../scenario.ts";
import { requireSameFingerprint } from "../session/checkpoint.ts";
import type { Exploration } from "../session/exploration.ts";
import { findSymmetricTasks } from "../session/find-symmetric-tasks.ts";
import { fingerprintOf } from "../session/fingerprint.ts";
import { Session, budgetOf } from "../session/session.ts";
import { DependsOnMore } from "../steps/dependence.ts";
import type { Dependence } from "../steps/dependence.ts";
import type { SymmetricTasks } from "../steps/symmetric-tasks.ts";
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
 * It is long because every pause costs time: fib(5) with two Workers took 2.4 to 2.9 s with 40 ms,
 * and 1.7 to 1.9 s with 200 ms.
 */
const SLICE_MS = 200;
const PROGRESS_MS = 100;

/** An execution has shown that the split is not possible. */
class SplitInvalid extends Error {}

/** The messages of this thread, and the pause in which they arrive. */
class Mailbox {
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

  post(message: FromExplorer): void {
    this.#scope.post(message);
  }

  /** A message that has arrived, if there is one. */
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
   * Lets messages arrive. It uses a timer: a message to itself would arrive before those of other
   * threads.
   */
  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** Searches to the end, or until a stop message. */
async function finish(mailbox: Mailbox, session: Session): Promise<Exploration> {
  let nextProgressMs = performance.now() + PROGRESS_MS;
  for (;;) {
    const sliceEndMs = performance.now() + SLICE_MS;
    const end = session.search(() => performance.now() >= sliceEndMs);
    if (end !== undefined) return session.result(end);
    await mailbox.pause();
    if (mailbox.take()?.kind === "stop") return session.result("cancelled");
    if (performance.now() < nextProgressMs) continue;
    nextProgressMs = performance.now() + PROGRESS_MS;
    mailbox.post({ kind: "progress", progress: session.progress() });
  }
}

/** What is explored, and how. */
interface Subject {
  readonly scenario: AnyScenario;
  readonly dependence: Dependence;
  readonly fingerprint: string;
  readonly split: Split | undefined;
  readonly equal: readonly SymmetricTasks[];
}

async function exploreWhole(
  mailbox: Mailbox,
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
    return await finish(mailbox, session);
  } finally {
    session.run.finish();
  }
}

async function explorePart(
  mailbox: Mailbox,
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
    seen = await finish(mailbox, session);
  } catch (error) {
    // These errors may also mean that the order does not hold in whole classes. If not, the
    // exploration of the whole reports them.
    if (error instanceof UncontrolledNondeterminism || error instanceof EngineFault)
      throw new SplitInvalid();
    throw error;
  } finally {
    session.run.finish();
  }
  if (!isSplit) throw new SplitInvalid();
  return seen;
}

async function findScenario(module: string, name: string): Promise<AnyScenario> {
  importExploredForm();
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

async function work(mailbox: Mailbox, start: ExplorerStart): Promise<void> {
  const { options, dependence } = start;
  const scenario = await findScenario(start.module, start.scenario);
  const fingerprint = fingerprintOf(scenario, budgetOf(options), dependence);
  if (options.resumeFrom !== undefined) requireSameFingerprint(options.resumeFrom, fingerprint);
  const equal = findSymmetricTasks(scenario, options, dependence);
  // Symmetry reduction saves more than a split.
  const split =
    start.maySplit && equal.length === 0
      ? findSplit(scenario, budgetOf(options), dependence)
      : undefined;
  const subject: Subject = { scenario, dependence, fingerprint, split, equal };
  mailbox.post({
    kind: "ready",
    fingerprint,
    parts: split === undefined ? 0 : split.ordinals.length + 1,
  });
  for (;;) {
    const message = await mailbox.next();
    if (message.kind === "stop") continue;
    const { part } = message;
    const result =
      part === undefined || split === undefined
        ? await exploreWhole(mailbox, subject, message.options)
        : await explorePart(mailbox, subject, orderOf(split, part), message.options);
    mailbox.post({ kind: "result", result });
  }
}

async function main(): Promise<void> {
  const scope = enterWorker();
  const mailbox = new Mailbox(scope);
  try {
    await work(mailbox, (await scope.start) as ExplorerStart);
  } catch (error) {
    if (error instanceof DependsOnMore) mailbox.post({ kind: "depends-on-more", more: error.more });
    else if (error instanceof SplitInvalid) mailbox.post({ kind: "split-invalid" });
    else {
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      mailbox.post({ kind: "failed", name, message, stack: stack ?? "" });
    }
  }
}

await main();
