/**
 * @module The stage of scenarios about the parts of a source's life: a source that nothing maps,
 * claimed by the set-up. What a thread has begun before a scenario starts, the set-up has done as
 * that thread. So each task has a few steps only, and all orders can be explored.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { IO_SIZE, ioBegin } from "../../../../src/mm/source/io.ts";
import { setPager } from "../../../../src/mm/source/pager.ts";
import { ask } from "../../../../src/mm/source/requests.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import { openSource } from "../../../../src/mm/source/source-table.ts";
import { readPages } from "../../../../src/mm/source/transfer.ts";
import { PageCache, backingOf, cacheEntryAt } from "../../../../src/mm/vma/page-cache.ts";
import { type SourceTable, sourceTable } from "../../../../src/mm/vma/source-list.ts";
import type { Source } from "../../../../src/mm/vma/source.ts";
import { EAGAIN } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { selectAgent } from "../../../../src/sync/runners/agents.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, type HarnessTwin, coveringOnHarness } from "../on-harness.ts";
import { LateStore, type WordStore } from "./store-stage.ts";

/** Which file a source is, where it is one. */
export const FILE = { device: 1n, inode: 2n, bornNs: 3n } as const;

export interface SourceStage {
  readonly store: LateStore;
  readonly at: number;
  readonly cache: PageCache;
  readonly source: Source;
  readonly table: SourceTable;
}

export interface SourceOptions {
  readonly pages?: number;
  /** Agents that have the code. Default: those of three tasks. */
  readonly coders?: readonly number[];
  readonly isFile?: boolean;
  /** How much of the last page the source has not. */
  readonly cutBytes?: number;
}

/** Runs `run` as the thread of the task with this number, from 1 on. */
export function asTask<T>({ machine: { memory } }: HmmHarness, task: number, run: () => T): T {
  const self = memory.agentId;
  selectAgent(memory, task);
  const result = run();
  selectAgent(memory, self);
  return result;
}

/** A source, claimed by the set-up. Its store answers late. */
export function makeSourceStage(harness: HmmHarness, options: SourceOptions = {}): SourceStage {
  const { machine } = harness;
  const { pages = 1, coders = [1, 2, 3], isFile = false, cutBytes = 0 } = options;
  const store = new LateStore(pages);
  const table = harness.run(sourceTable(machine));
  const kind = { lengthBytes: pages * PAGE_BYTES - cutBytes, isWritable: true };
  const at = harness.run(openSource(machine, isFile ? { ...kind, file: FILE } : kind));
  assert(at > 0, `the source cannot be had: ${at}`);
  for (const coder of coders) asTask(harness, coder, () => setPager(machine, at, store));
  const source = backingOf(machine, at) ?? bug("the cache has no source");
  return { store, at, cache: PageCache.at(machine.memory, at), source, table };
}

/** `pages` pages are read by the set-up, or by a task: then they are READING until it finishes. */
export function beginRead(
  harness: HmmHarness,
  { cache, source, store }: SourceStage,
  pager: WordStore,
  pages: number,
): number {
  const answer = harness.run(readPages(harness.machine, cache, source, pager, 0, pages));
  assert(answer === 0, `the read answered ${answer}`);
  return store.io;
}

/** A thread that serves the source; it does nothing yet. */
export function beginService(harness: HmmHarness, { at, store }: SourceStage): SourceServer {
  const server = harness.run(SourceServer.begin(harness.machine, at, store));
  return typeof server === "number" ? bug("the service cannot begin") : server;
}

/** A request for the size, which nobody has taken yet. Somebody serves the source. */
export function beginRequest(harness: HmmHarness, { at, source }: SourceStage): number {
  const { machine } = harness;
  const io = harness.run(ioBegin(machine, at, IO_SIZE, 0, 0));
  assert(io > 0, `the request answered ${io}`);
  const answer = harness.run(ask(machine, source, io, 0));
  assert(answer === EAGAIN, `nobody takes the request, and it answered ${answer}`);
  return io;
}

export function entryOf({ machine }: HmmHarness, { cache }: SourceStage, page: number): number {
  return cacheEntryAt(machine.memory, cache, page);
}

export interface World extends SourceStage {
  readonly servers: readonly SourceServer[];
  readonly requests: readonly number[];
  /** A transfer of the first task. */
  readonly io: number;
}

export type Body = HarnessBody<World>;

export interface Part {
  readonly name: string;
  readonly summary: string;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
  readonly setup: (harness: HmmHarness) => SourceStage & Partial<World>;
  readonly reopen?: (world: World, harness: HmmHarness) => void;
  readonly check: (world: World, harness: HmmHarness) => void;
  readonly preemptions?: number;
  /** The task that may die at any step. */
  readonly dies?: string;
  readonly twins?: readonly HarnessTwin<World>[];
}

/** Two or three parts of a source's life, beside each other. */
export function part(parts: Part): Covered {
  const { name, summary, tasks, setup, reopen, check, preemptions = 1, dies, twins = [] } = parts;
  const exploration = { engine: "bounded", preemptions } as const;
  return coveringOnHarness<World>({
    layer: "mm",
    name: `source-part/${name}`,
    summary,
    harness: { pages: 0, arenaWords: 8192, frames: 8 },
    ...(dies === undefined
      ? { exploration }
      : { exploration: { ...exploration, deaths: 1 }, killable: [dies], mustSurvive: true }),
    mayRemain: "anything",
    setup: (harness) => ({ servers: [], requests: [], io: 0, ...setup(harness) }),
    ...(reopen === undefined ? {} : { reopen }),
    tasks,
    check,
    twins,
  });
}
