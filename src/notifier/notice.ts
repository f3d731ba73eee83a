/**
 * @module notifier/notice
 * Invalidations that another thread brings to their end if the one that makes them dies. Which
 * notifiers have been told of the start, and wait for the end, only the invalidating thread knows.
 * So it notes how far it is, in its own record (sync/words/operations.ts, R5), from before the
 * first start to behind the last end:
 *
 *     thread that dies                    recoverer
 *     notice begun
 *     notifier A: start                                        [A waits for an end]
 *     NODE = B
 *     notifier B: start, half of it
 *     [dead]
 *                                         notifier B: start, what is left of it
 *                                         the entries (mm/entries/invalidation.ts)
 *                                         notifier A: end; notifier B: end
 *                                         gives up the mmap lock
 *                                         notice ended
 *
 *   W1  Going back would do as well, but not for the CPU: what its entries have lost is gone, and a
 *       device must not keep it. So a start that has begun is finished, and the ends follow.
 *       Nothing between the two is made up for: pages that were not changed yet stay as they are.
 *   W2  PROGRESS says what a call-back has done that must not be done twice. It changes in the same
 *       step as that, or is undone with it (words/undo-log.ts). All else of a call-back is done
 *       again. NODE and PROGRESS change together: stores in a row (H1 of lockdep/held-locks.ts).
 *   W3  A call-back that cannot be done again is a critical section: a death in it stops the
 *       machine. So are those of an invalidation that may not wait, and of one for which no notice
 *       is left.
 *   W4  The read section in which the dead thread was goes on until the recoverer is done. So NODE
 *       is allocated, even if it has been unlinked meanwhile.
 *   W5  A start whose end is left to somebody else (an open write view) hands its notice over: it
 *       ends together with the change that makes the end somebody else's.
 *
 * Holding the mmap lock, whose word is LOCK.
 */

import { SpaceCounters } from "../memory/space-counters.ts";
import { AGENTS, AGENT_WORDS } from "../sync/control-block.ts";
import { lockClass } from "../sync/lock-class.ts";
import {
  HELD_CALLBACK,
  enterCritical,
  heldTag,
  leaveCritical,
} from "../sync/lockdep/held-locks.ts";
import type { SharedMemory } from "../sync/shared-memory.ts";
import { freeNotice } from "../sync/words/operations.ts";
import { undoStore } from "../sync/words/undo-log.ts";
import type { InvalidateRange } from "./events.ts";
import { NotifierSubscriptions } from "./subscriptions.ts";

/** Words of a notice. LOCK is 0, NOTICE_ALSO of words/operations.ts is 1. */
const LIST = 2;
const START_PAGE = 3;
const END_PAGE = 4;
const EVENT = 5;
const OWNER = 6;
const EXCEPT = 7;
const COUNTERS = 8;
const PHASE = 9;
const NODE = 10;
const PROGRESS = 11;
const HELD = 12;

/** Starts are being called; NODE 0: none has been. */
export const STARTING = 1;
/** All starts have returned. */
export const STARTED = 2;
/** Ends are being called; NODE 0: none has been. */
export const ENDING = 3;
/** All ends have returned. */
export const ENDED = 4;

/** The call-back of NODE has returned. Other values are the call-back's own. */
export const RETURNED = -1;

/** `notice` of an invalidation of which a death in between stops the machine (W3). */
const CRITICAL = -1;

const tag = heldTag(lockClass("invalidation"), HELD_CALLBACK);

/** Of the invalidation that is about to start, or to end if its start was another's (W5). */
export function beginNotice(range: InvalidateRange, phase: number): void {
  const { memory } = range.subscriptions;
  const at = range.blockable ? freeNotice(memory) : 0;
  if (at === 0) return beginCritical(range);
  write(range, at, phase);
  memory.words[at] = range.lock; // R1 of words/operations.ts
  range.notice = at;
}

/**
 * As {@link beginNotice} for an end, as part of a change of what the mmap lock guards. Holding it
 * for writing.
 */
export function beginEndUnder(range: InvalidateRange): void {
  const { memory } = range.subscriptions;
  const at = freeNotice(memory);
  if (at === 0) return beginCritical(range);
  write(range, at, ENDING);
  undoStore(memory, range.lock, at, range.lock);
  range.notice = at;
}

function beginCritical(range: InvalidateRange): void {
  const { memory, headAt } = range.subscriptions;
  enterCritical(memory, headAt, tag);
  range.notice = CRITICAL;
}

function write(range: InvalidateRange, at: number, phase: number): void {
  const { words } = range.subscriptions.memory;
  words.fill(0, at + 1, at + HELD + 1);
  words[at + LIST] = range.subscriptions.at;
  words[at + START_PAGE] = range.startPage;
  words[at + END_PAGE] = range.endPage;
  words[at + EVENT] = range.event;
  words[at + OWNER] = range.owner;
  words[at + EXCEPT] = range.exceptRange;
  words[at + COUNTERS] = range.counters.at;
  words[at + PHASE] = phase;
}

/** All ends have returned, or the start has been refused. */
export function endNotice(range: InvalidateRange): void {
  const { subscriptions, notice } = range;
  if (notice === CRITICAL) leaveCritical(subscriptions.memory, subscriptions.headAt, tag);
  else if (notice !== 0) subscriptions.memory.words[notice] = 0;
  range.notice = 0;
}

/** W5: as part of a change of what the mmap lock guards. Holding it for writing. */
export function handOverUnder(range: InvalidateRange): void {
  const { memory } = range.subscriptions;
  if (range.notice > 0) undoStore(memory, range.lock, range.notice, 0);
}

/** The change has been committed. Pairs with {@link handOverUnder}. */
export function handedOver(range: InvalidateRange): void {
  if (range.notice > 0) range.notice = 0;
  else endNotice(range);
}

/** The next call-back is that of `node`; 0: of the first, or of none. W2. */
export function notePhase(range: InvalidateRange, phase: number, node: number): void {
  const { notice } = range;
  if (notice <= 0) return;
  const { words } = range.subscriptions.memory;
  words[notice + NODE] = node;
  words[notice + PROGRESS] = 0;
  words[notice + HELD] = 0;
  words[notice + PHASE] = phase;
}

/** The invalidation that a notice is of, for who goes on with it. */
export function noticedRange(memory: SharedMemory, notice: number): InvalidateRange {
  const { words } = memory;
  memory.ensure(Math.max(words[notice + LIST]!, words[notice + COUNTERS]!) + SpaceCounters.WORDS);
  return {
    subscriptions: new NotifierSubscriptions(memory, words[notice + LIST]!),
    counters: new SpaceCounters(memory, words[notice + COUNTERS]!),
    lock: words[notice]!,
    startPage: words[notice + START_PAGE]! >>> 0,
    endPage: words[notice + END_PAGE]! >>> 0,
    event: words[notice + EVENT]!,
    blockable: true,
    owner: words[notice + OWNER]!,
    exceptRange: words[notice + EXCEPT]!,
    notice,
  };
}

export function phaseOf({ words }: SharedMemory, notice: number): number {
  return words[notice + PHASE]!;
}

export function nodeOf({ words }: SharedMemory, notice: number): number {
  return words[notice + NODE]!;
}

/** How far the call-back of NODE is; 0 at its beginning, and without a notice. */
export function progressOf({ subscriptions, notice }: InvalidateRange): number {
  return notice <= 0 ? 0 : subscriptions.memory.words[notice + PROGRESS]!;
}

/** PROGRESS becomes `progress`, as part of a change of what `lock` guards; 0: at once. */
export function noteProgress(range: InvalidateRange, progress: number, lock: number = 0): void {
  const { subscriptions, notice } = range;
  if (notice <= 0) return;
  if (lock === 0) subscriptions.memory.words[notice + PROGRESS] = progress;
  else undoStore(subscriptions.memory, lock, notice + PROGRESS, progress);
}

/** The word of the notice that names what NODE's call-back holds a reference of; 0: none. */
export function heldNote({ notice }: InvalidateRange): number {
  return notice <= 0 ? 0 : notice + HELD;
}

/** The record of the dead thread that began the notice; 0: this thread did, or there is none. */
export function deadRecordOf({ subscriptions, notice }: InvalidateRange): number {
  if (notice <= 0) return 0;
  const record = notice - ((notice - AGENTS) % AGENT_WORDS);
  return record === subscriptions.memory.record ? 0 : record;
}
