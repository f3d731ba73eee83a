/**
 * @module Random programs, and random mutations of programs. The page of a call is relative to an
 * address that an earlier call of its task returned, or to the few pages that are mapped at the
 * beginning. So calls often touch the same pages.
 */

import type { RandomNumbers } from "../../../src/checker/engines/random-numbers.ts";
import { CALLS, TASKS_MAX, TASK_NAMES } from "./fuzz-program.ts";
import type { CallName, FuzzCall, FuzzProgram } from "./fuzz-program.ts";

const CALLS_OF_TASK_MAX = 5;
/** The first pages of calls: mostly those of the device's table. */
const PAGE_CHOICES = [0, 0, 0, 1, 1, 2, 3, 5];
const PAGES_CHOICES = [1, 1, 1, 2, 2, 3, 4];

/** The weights of calls that are chosen more often. */
const EXTRA: readonly CallName[] = [
  "load",
  "store",
  "store",
  "map-source",
  "munmap",
  "touch",
  "serve",
  "serve",
  "use",
  "dontneed",
  "mprotect",
  "migrate",
  "migrate",
  "exclusive",
];
const DRAWN: readonly CallName[] = [...CALLS, ...EXTRA];

/** Calls that may be about all of a huge page. Each takes a step for every page that is there. */
const WHOLE: ReadonlySet<CallName> = new Set([
  ...(["munmap", "mprotect", "mremap", "dontneed", "free"] as const),
  ...(["hugepage", "nohugepage", "collapse"] as const),
]);
/** One new program in so many is about a block of 2 MiB: its executions are ten times as long. */
const HUGE_SELDOM = 200;

/** A program of 2 to 4 tasks. */
export function randomProgram(random: RandomNumbers): FuzzProgram {
  const tasks = 2 + Math.min(random.below(3), random.below(3));
  const isHuge = random.below(HUGE_SELDOM) === 0;
  const lists = Array.from({ length: isHuge ? 2 : tasks }, () => randomCalls(random));
  return programOf(isHuge ? lists.map((calls) => aboutBlock(calls, random)) : lists);
}

/** A mutation of `program`: a call added, removed, replaced or moved, or a task of `other`. */
export function changedProgram(
  program: FuzzProgram,
  other: FuzzProgram,
  random: RandomNumbers,
): FuzzProgram {
  const lists = Object.values(program.tasks).map((calls) => [...calls]);
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const task = random.below(lists.length);
    const calls = lists[task] ?? [];
    const at = random.below(calls.length + 1);
    const change = random.below(5);
    if (change === 0 && calls.length > 1)
      lists[task] = withoutCall(calls, random.below(calls.length));
    else if (change === 1 && calls.length > 0)
      calls[Math.min(at, calls.length - 1)] = randomCall(random, Math.min(at, calls.length - 1));
    else if (change === 2 && lists.length < TASKS_MAX)
      lists.push([...pick(random, Object.values(other.tasks), [])]);
    else if (change === 3) lists[task] = [...pick(random, Object.values(other.tasks), calls)];
    else if (calls.length < CALLS_OF_TASK_MAX) calls.push(randomCall(random, calls.length));
  }
  return programOf(lists);
}

/**
 * The calls of a task without one. Calls relative to its result become relative to the first mapped
 * page.
 */
export function withoutCall(calls: readonly FuzzCall[], index: number): FuzzCall[] {
  return calls.toSpliced(index, 1).map((call) => {
    const { from, ...rest } = call;
    if (from === undefined || from < index) return call;
    return from === index ? rest : { ...rest, from: from - 1 };
  });
}

export function programOf(lists: readonly (readonly FuzzCall[])[]): FuzzProgram {
  return { tasks: Object.fromEntries(lists.map((calls, i) => [TASK_NAMES[i] ?? "", calls])) };
}

/** Whether the program is about the block of 2 MiB. */
export function isAboutBlock({ tasks }: FuzzProgram): boolean {
  return Object.values(tasks).some((calls) => calls.some(({ huge }) => huge === true));
}

/** Most of the calls become calls about the block of 2 MiB. */
function aboutBlock(calls: readonly FuzzCall[], random: RandomNumbers): FuzzCall[] {
  return calls.map((call) => {
    if (random.below(3) === 0) return call;
    const isWhole = WHOLE.has(call.op) && random.below(2) === 0;
    return { ...call, huge: true, ...(isWhole && { whole: true }) };
  });
}

function randomCalls(random: RandomNumbers): FuzzCall[] {
  const length = 1 + random.below(CALLS_OF_TASK_MAX);
  return Array.from({ length }, (_, index) => randomCall(random, index));
}

function randomCall(random: RandomNumbers, index: number): FuzzCall {
  const op = pick(random, DRAWN, "touch");
  const isOften = (): boolean => random.below(2) === 0;
  const isSeldom = (): boolean => random.below(5) === 0;
  const page = pick(random, PAGE_CHOICES, 0);
  const place = pick<FuzzCall["place"]>(random, ["fixed", "noreplace", undefined], undefined);
  return {
    op,
    ...(index > 0 && isSeldom() ? { from: random.below(index) } : {}),
    ...(page > 0 ? { page } : {}),
    ...(hasPages(op) ? { pages: pick(random, PAGES_CHOICES, 1) } : {}),
    ...(mayWrite(op) && isOften() ? { write: true } : {}),
    ...((op === "mprotect" || op === "pin") && isSeldom() ? { none: true } : {}),
    ...((op === "mmap" || op === "map-source") && isSeldom() ? { shared: true } : {}),
    ...((op === "mmap" || op === "map-source" || op === "mremap") && place !== undefined
      ? { place }
      : {}),
    ...(op === "mremap"
      ? { newPages: pick(random, PAGES_CHOICES, 1), to: pick(random, PAGE_CHOICES, 0) }
      : {}),
    ...(!isOfDevice(op) && isSeldom() ? { child: true } : {}),
  };
}

const PAGELESS: ReadonlySet<CallName> = new Set([
  ...(["fork", "exit-child", "touch", "load", "store"] as const),
  ...(["use", "evict", "register", "unregister"] as const),
]);

function hasPages(op: CallName): boolean {
  return !PAGELESS.has(op);
}

function mayWrite(op: CallName): boolean {
  return ["mmap", "map-source", "mprotect", "touch", "serve", "pin"].includes(op);
}

const OF_DEVICE: ReadonlySet<CallName> = new Set<CallName>([
  "serve",
  "snapshot",
  "use",
  "evict",
  "register",
  "unregister",
  "resize-source",
]);

function isOfDevice(op: CallName): boolean {
  return OF_DEVICE.has(op);
}

function pick<T>(random: RandomNumbers, from: readonly T[], otherwise: T): T {
  return from[random.below(from.length)] ?? otherwise;
}
