/**
 * @module Explores one scenario with several threads. They explore parts that have no class in
 * common (order-split.ts). In an optimal search the threads together see the classes that one
 * thread would see, each once, and give up no execution. A thread that has finished a part takes
 * the next one. Sampling engines are split by seeds.
 *
 * One thread explores what cannot be split; the caller's thread stays free:
 *
 * - a scenario without a split;
 * - an exploration that goes on from a checkpoint, or may make one;
 * - an exploration with another engine.
 *
 * Neither counts nor findings depend on the speed of the threads: they are kept by part, and
 * findings are sorted by their identities.
 */

import { spawnWorker } from "../../host/spawn-worker.ts";
import type { SpawnedWorker } from "../../host/spawn-worker.ts";
import { CheckpointError, requireSameScenario, validCheckpoint } from "../session/checkpoint.ts";
import { resumedOptions } from "../session/recorded-options.ts";
import type { Exploration, Progress } from "../session/exploration.ts";
import { addSearches, secondSearch } from "../session/two-searches.ts";
import { DependsOnMore, LEAST, addDependence } from "../steps/dependence.ts";
import type { Dependence } from "../steps/dependence.ts";
import { addExplorations, addProgress } from "./add-explorations.ts";
import type { ExplorerStart, FromExplorer, ParallelOptions } from "./explorer-messages.ts";

export type { ParallelOptions } from "./explorer-messages.ts";

/** What is to be explored in parallel. */
export interface ParallelRequest {
  /** Address of an ES module that exports the scenario, alone or in an array. */
  readonly module: string | URL;
  /** The scenario's name. */
  readonly scenario: string;
  /** How many threads at most. */
  readonly jobs: number;
  /** What is explored, and to which limits. Default: as for `explore`. */
  readonly options?: ParallelOptions;
  /** Called about five times a second. */
  readonly onProgress?: (progress: Progress) => void;
  /** Stops the exploration; with options.resumable it then has a checkpoint. */
  readonly signal?: AbortSignal;
  /**
   * How long a thread may say nothing, at import, in the scenario's setup or between two steps of a
   * task. Then it is ended, and so is the exploration, with {@link ExplorerCrash}. A thread that
   * does not stop when it shall is ended, too. Default: for ever.
   */
  readonly patienceSeconds?: number;
}

/** A thread of the exploration has failed. */
export class ExplorerCrash extends Error {
  /** The thread has ended by itself. */
  readonly hasEnded: boolean;

  constructor(scenario: string, thread: number, message: string, hasEnded: boolean = false) {
    super(`Cannot explore "${scenario}": thread ${thread} failed: ${message}`);
    this.name = "ExplorerCrash";
    this.hasEnded = hasEnded;
  }
}

/** What the scenario's author got wrong is said without a stack: the lines are the checker's. */
function whyFailed({
  message,
  stack,
}: {
  readonly message: string;
  readonly stack: string;
}): string {
  const refused = /^Cannot explore "[^"]*": (.*)$/s.exec(message)?.[1];
  return refused ?? (stack === "" ? message : stack);
}

/** The exploration must begin again without a split. */
class SplitInvalid extends Error {}

const PROGRESS_MS = 200;
/** How long a silent thread may take to stop. It speaks five times a second. */
const STOP_MS = 500;
/** The difference between the seeds of two threads. */
const SEED_STEP = 0x9e3779b1;
const samplingEngines: ReadonlySet<string> = new Set(["random", "pct", "pos"]);

/**
 * As `explore`, with several threads. Limits of time hold for each thread. A limit on executions is
 * checked between messages, so a few more may be performed. Rejects with {@link ExplorerCrash} if a
 * thread fails, and with CheckpointError.
 */
export async function exploreInParallel(request: ParallelRequest): Promise<Exploration> {
  const given = request.options ?? {};
  const first = await searchAnew(request, given);
  const options = secondSearch(given, first);
  return options === undefined
    ? first
    : addSearches(first, await searchAnew({ ...request, options }, options));
}

/** Searches, and begins again with more dependences as often as an execution shows them. */
async function searchAnew(request: ParallelRequest, given: ParallelOptions): Promise<Exploration> {
  const from = given.resumeFrom === undefined ? undefined : validCheckpoint(given.resumeFrom);
  if (from !== undefined) requireSameScenario(from, request.scenario);
  let options: ParallelOptions = from === undefined ? given : resumedOptions(from, given);
  let dependence = from?.dependence ?? LEAST;
  let maySplit =
    from === undefined && options.resumable !== true && options.collectClasses !== true;
  for (;;) {
    try {
      return await new ParallelSearch(request, options, dependence, maySplit).run();
    } catch (error) {
      if (error instanceof DependsOnMore) dependence = addDependence(dependence, error.more);
      else if (error instanceof SplitInvalid) maySplit = false;
      else throw error;
      const { resumeFrom: _, ...fromTheBeginning } = options;
      options = fromTheBeginning;
    }
  }
}

interface Explorer {
  readonly number: number;
  readonly worker: SpawnedWorker;
  /** Which part it explores. */
  part: number | undefined;
  progress: Progress | undefined;
  /** Whether something is expected of it. */
  isBusy: boolean;
  /** When it last said something. */
  heardMs: number;
}

class ParallelSearch {
  readonly #request: ParallelRequest;
  readonly #options: ParallelOptions;
  readonly #dependence: Dependence;
  readonly #maySplit: boolean;
  readonly #isSampling: boolean;
  readonly #threads: number;
  readonly #explorers: Explorer[] = [];
  readonly #results: (Exploration | undefined)[] = [];
  readonly #startMs = performance.now();
  #fingerprint: string | undefined;
  /** The number of parts: 1 if there is no split; 0 as long as it is not known. */
  #parts = 0;
  #next = 0;
  #isSplit = false;
  #isStopped = false;
  #stoppedMs = Infinity;
  #settle:
    | { readonly resolve: (result: Exploration) => void; readonly reject: (error: Error) => void }
    | undefined;

  constructor(
    request: ParallelRequest,
    options: ParallelOptions,
    dependence: Dependence,
    maySplit: boolean,
  ) {
    this.#request = request;
    this.#options = options;
    this.#dependence = dependence;
    const { engine = "optimal" } = options;
    const jobs = Math.max(1, Math.floor(request.jobs));
    this.#isSampling =
      maySplit && jobs > 1 && samplingEngines.has(engine) && options.executions !== undefined;
    this.#maySplit = maySplit && jobs > 1 && engine === "optimal";
    this.#threads = this.#maySplit || this.#isSampling ? jobs : 1;
    if (this.#isSampling) this.#parts = jobs;
  }

  async run(): Promise<Exploration> {
    const { signal, onProgress } = this.#request;
    const timer = setInterval(() => {
      onProgress?.(this.#progress());
      this.#lookForSilence();
    }, PROGRESS_MS);
    const onAbort = (): void => this.#stop();
    signal?.addEventListener("abort", onAbort);
    try {
      return await new Promise((resolve, reject) => {
        this.#settle = { resolve, reject };
        for (let number = 1; number <= this.#threads; number++) this.#start(number);
        if (signal?.aborted === true) onAbort();
      });
    } finally {
      clearInterval(timer);
      signal?.removeEventListener("abort", onAbort);
      await Promise.all(this.#explorers.map(({ worker }) => worker.terminate()));
    }
  }

  #start(number: number): void {
    const { module, scenario } = this.#request;
    const start: ExplorerStart = {
      module: String(module),
      scenario,
      options: this.#options,
      dependence: this.#dependence,
      maySplit: this.#maySplit,
    };
    const url = new URL("./explorer-worker.js", import.meta.url);
    const worker = spawnWorker(url, start, { name: `explorer ${number}` });
    const explorer: Explorer = {
      number,
      worker,
      part: undefined,
      progress: undefined,
      isBusy: true,
      heardMs: performance.now(),
    };
    this.#explorers.push(explorer);
    worker.onMessage((message) => this.#onMessage(explorer, message as FromExplorer));
    worker.onError((error) => this.#crash(explorer, error.message));
    worker.onExit(() => this.#crash(explorer, "it has ended", true));
  }

  #onMessage(explorer: Explorer, message: FromExplorer): void {
    explorer.heardMs = performance.now();
    explorer.isBusy = message.kind === "progress";
    switch (message.kind) {
      case "ready":
        this.#ready(explorer, message.fingerprint, message.parts);
        break;
      case "progress":
        explorer.progress = message.progress;
        if (this.#isSplit && this.#progress().executions >= (this.#options.executions ?? Infinity))
          this.#stop();
        break;
      case "result":
        this.#finished(explorer, message.result);
        break;
      case "depends-on-more":
        this.#settle?.reject(new DependsOnMore(message.more));
        break;
      case "split-invalid":
        this.#settle?.reject(new SplitInvalid());
        break;
      case "failed":
        if (message.name === "CheckpointError")
          this.#settle?.reject(new CheckpointError(message.message));
        else this.#crash(explorer, whyFailed(message));
    }
  }

  #ready(explorer: Explorer, fingerprint: string, parts: number): void {
    this.#fingerprint ??= fingerprint;
    if (this.#fingerprint !== fingerprint) {
      this.#crash(
        explorer,
        "its first execution is not that of the others; keep clocks and chance out of the scenario",
      );
      return;
    }
    if (this.#parts === 0) {
      this.#isSplit = parts > 1;
      this.#parts = this.#isSplit ? parts : 1;
    }
    this.#handOut(explorer);
  }

  #handOut(explorer: Explorer): void {
    if (this.#next >= this.#parts || (this.#isStopped && this.#next > 0)) return;
    const part = this.#next++;
    explorer.part = part;
    explorer.isBusy = true;
    explorer.worker.post({
      kind: "explore",
      part: this.#isSplit ? part : undefined,
      options: this.#optionsOf(part),
    });
    if (this.#isStopped) explorer.worker.post({ kind: "stop" });
  }

  #optionsOf(part: number): ParallelOptions {
    const { executions, seconds, seed = 1, ...options } = this.#options;
    const secondsLeft =
      seconds === undefined ? {} : { seconds: Math.max(0, seconds - this.#seconds()) };
    if (!this.#isSampling) {
      return {
        ...options,
        seed,
        ...secondsLeft,
        ...(executions === undefined ? {} : { executions }),
      };
    }
    const share =
      Math.floor(((part + 1) * (executions ?? 0)) / this.#parts) -
      Math.floor((part * (executions ?? 0)) / this.#parts);
    return {
      ...options,
      ...secondsLeft,
      executions: share,
      seed: (seed + Math.imul(part, SEED_STEP)) | 0,
    };
  }

  #finished(explorer: Explorer, result: Exploration): void {
    this.#results[explorer.part ?? 0] = result;
    explorer.part = undefined;
    explorer.progress = undefined;
    if (result.end !== "covered" && result.end !== "executions") this.#stop();
    else if (this.#isSplit && result.end === "executions") this.#stop();
    this.#handOut(explorer);
    if (this.#explorers.some(({ part }) => part !== undefined)) return;
    if (this.#next < this.#parts && !this.#isStopped) return;
    const seen = this.#results.filter((part) => part !== undefined);
    const isWhole = seen.length === this.#parts;
    this.#settle?.resolve(
      addExplorations(seen, {
        scenario: this.#request.scenario,
        isWhole,
        seconds: this.#seconds(),
      }),
    );
  }

  #stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#stoppedMs = performance.now();
    for (const { part, worker } of this.#explorers)
      if (part !== undefined) worker.post({ kind: "stop" });
  }

  #lookForSilence(): void {
    const { patienceSeconds } = this.#request;
    if (patienceSeconds === undefined) return;
    const nowMs = performance.now();
    const limitMs = nowMs - this.#stoppedMs >= STOP_MS ? STOP_MS : patienceSeconds * 1000;
    const silent = this.#explorers.find(
      ({ isBusy, heardMs }) => isBusy && nowMs - heardMs >= limitMs,
    );
    if (silent === undefined) return;
    const text = `its code did not come back in ${limitMs / 1000} s: a loop without \`yield*\`, at import, in its setup or in a task`;
    this.#crash(silent, text);
  }

  #crash({ number }: Explorer, message: string, hasEnded: boolean = false): void {
    const { scenario } = this.#request;
    this.#settle?.reject(new ExplorerCrash(scenario, number, message, hasEnded));
  }

  #seconds(): number {
    return (performance.now() - this.#startMs) / 1000;
  }

  #progress(): Progress {
    const running = this.#explorers.flatMap(({ progress }) =>
      progress === undefined ? [] : [progress],
    );
    const done = this.#results.filter((part) => part !== undefined);
    return addProgress(done, running, Math.max(1, this.#parts), this.#seconds());
  }
}
