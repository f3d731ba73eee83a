/**
 * @module A random program as data: the calls of each task, in order. The fuzzer makes, mutates and
 * shrinks it, and writes it to a file; so a program that is read is validated.
 */

import { UsageError } from "../exit-status.ts";

/** The names of the calls of programs. */
export const CALLS = [
  "mmap",
  "munmap",
  "mprotect",
  "mremap",
  "dontneed",
  "free",
  "cold",
  "populate",
  "willneed",
  "pageout",
  "hugepage",
  "nohugepage",
  "collapse",
  "load",
  "store",
  "section",
  "map-source",
  "msync",
  "resize-source",
  "migrate",
  "migrate-back",
  "exclusive",
  "evict",
  "pin",
  "fork",
  "exit-child",
  "touch",
  "serve",
  "snapshot",
  "use",
  "register",
  "unregister",
] as const;

export type CallName = (typeof CALLS)[number];

/** One call. Fields that it does not need are ignored. */
export interface FuzzCall {
  readonly op: CallName;
  /**
   * The page is counted from the address that this earlier call of the task returned; else from the
   * first mapped page.
   */
  readonly from?: number;
  /** Default 0. */
  readonly page?: number;
  /** Default 1. */
  readonly pages?: number;
  /** Ask for, or give, the right to write. Default false. */
  readonly write?: boolean;
  /** The page is counted from the beginning of the block of 2 MiB, and not from `from`. */
  readonly huge?: boolean;
  /** With `huge`: the whole block. Default false. */
  readonly whole?: boolean;
  /** mprotect: take all rights; pin: for long. Default false. */
  readonly none?: boolean;
  /** mmap: shared. Default false. */
  readonly shared?: boolean;
  /**
   * mmap: "fixed" replaces what is there, "noreplace" does not; without it, anywhere. mremap: with
   * "fixed", move to `to`.
   */
  readonly place?: "fixed" | "noreplace";
  /** mremap: how many pages it becomes. Default 1. */
  readonly newPages?: number;
  /** mremap: where to. Default 0. */
  readonly to?: number;
  /** In the address space of the task's youngest child, if it has one. Default false. */
  readonly child?: boolean;
}

export interface FuzzProgram {
  /** By task. */
  readonly tasks: Readonly<Record<string, readonly FuzzCall[]>>;
}

/** A program in a file, as the module's default export. */
export interface FuzzFile extends FuzzProgram {
  /** The version of this form. */
  readonly fuzz: 1;
  readonly name: string;
  readonly summary?: string;
  /** With how many preemptions the finding shows. */
  readonly preemptions: number;
}

export const TASKS_MAX = 4;
/** The names of the tasks of programs that the fuzzer makes. */
export const TASK_NAMES: readonly string[] = ["a", "b", "c", "d"];
/** How many pages, from the first mapped one on, programs may use. */
export const PAGE_LIMIT = 16;

export function isFuzzFile(value: unknown): boolean {
  return typeof value === "object" && value !== null && "fuzz" in value;
}

/**
 * Reads a file for which {@link isFuzzFile} returned true. Throws UsageError if it has another
 * form.
 */
export function readFuzzFile(value: unknown): FuzzFile {
  const file = value as Partial<FuzzFile>;
  if (file.fuzz !== 1) refuse("it is of another version");
  if (typeof file.name !== "string") refuse("it has no name");
  const { tasks } = readFuzzProgram(file);
  const preemptions = Number.isSafeInteger(file.preemptions) ? (file.preemptions ?? 0) : 0;
  const summary = typeof file.summary === "string" ? file.summary : "a program of the fuzzer";
  return { fuzz: 1, name: file.name, summary, preemptions, tasks };
}

/** Reads a program. Throws UsageError if it has another form. */
export function readFuzzProgram(value: unknown): FuzzProgram {
  const { tasks } = (typeof value === "object" && value !== null ? value : {}) as {
    readonly tasks?: unknown;
  };
  if (typeof tasks !== "object" || tasks === null) refuse("it has no tasks");
  const names = Object.keys(tasks);
  if (names.length === 0 || names.length > TASKS_MAX)
    refuse(`it must have 1 to ${TASKS_MAX} tasks`);
  for (const calls of Object.values(tasks) as unknown[]) {
    if (!Array.isArray(calls)) refuse("a task must be an array of calls");
    calls.forEach((call, i) => requireCall(call as unknown, i));
  }
  return { tasks: tasks as FuzzProgram["tasks"] };
}

function requireCall(call: unknown, index: number): void {
  if (typeof call !== "object" || call === null) refuse("a call must be an object");
  const { op, from, page = 0, pages = 1, newPages = 1, to = 0 } = call as FuzzCall;
  if (!CALLS.includes(op)) refuse(`there is no call ${JSON.stringify(op)}`);
  if (from !== undefined && !(Number.isSafeInteger(from) && from >= 0 && from < index)) {
    refuse("`from` must be the index of an earlier call");
  }
  const isSmall = [page, to].every(
    (place) => Number.isSafeInteger(place) && place >= 0 && place < PAGE_LIMIT,
  );
  const isShort = [pages, newPages].every(
    (count) => Number.isSafeInteger(count) && count > 0 && count <= PAGE_LIMIT,
  );
  if (!isSmall || !isShort) refuse(`pages and places must be whole numbers below ${PAGE_LIMIT}`);
}

function refuse(why: string): never {
  throw new UsageError(`Cannot use the program of the fuzzer: ${why}`);
}
