/**
 * @module Releases what dead threads owned, by the release functions that the upper layers
 * registered (resources.ts).
 *
 * Each entry is claimed by a compare-exchange before it is released: if the reaper dies on the way,
 * that one thing is leaked, never released twice. A thread that has no release function for a kind
 * leaves the entry to one that has. The record becomes free when its list is empty.
 *
 * A releaser may need any lock, so reaping runs as a task of its own and only where no task
 * suspended beneath it could hold one: the runners see to that.
 */

import { atomicAnd, atomicCompareExchange, atomicLoad, atomicOr, plainLoad } from "../atomics.ts";
import {
  AGENT_DEAD,
  AGENT_FINDERS,
  AGENT_RESOURCES,
  AGENT_STATE,
  AGENT_STATE_MASK,
  ALERT,
  ALERT_DEAD,
  DEATHS,
  RESOURCE_LIMIT,
  RESOURCE_WORDS,
  agentRecord,
  AGENTS_USED,
} from "../control-block.ts";
import { ENOTRECOVERABLE } from "../errno.ts";
import { declarePanic, hasPanicked } from "./panic.ts";
import { releasers } from "./resources.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { access } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";

/**
 * What this thread knew when it last tried in vain, so that it does not try again before something
 * changed.
 */
const lastTry = new WeakMap<SharedMemory, { deaths: number; releasers: number }>();

/**
 * Whether there is something that this thread could reap. Cheap when nobody is dead.
 *
 * @spelled reaper
 */
export function shouldReap(memory: SharedMemory): boolean {
  if ((atomicLoad(memory.words, ALERT) & ALERT_DEAD) === 0 || memory.reaping || hasPanicked(memory))
    return false;
  const last = lastTry.get(memory);
  return last?.deaths !== atomicLoad(memory.words, DEATHS) || last.releasers !== releasers.size;
}

/**
 * Releases what dead agents left, as far as this thread can. The caller sets and clears
 * `memory.reaping`.
 *
 * @spelled reaper
 */
export function* reapTask(memory: SharedMemory): Task<void> {
  lastTry.set(memory, { deaths: atomicLoad(memory.words, DEATHS), releasers: releasers.size });
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++) {
    const record = agentRecord(agentId);
    yield* access(memory, "read", DEATHS, 1, "deaths");
    const state = atomicLoad(memory.words, record + AGENT_STATE);
    if ((state & AGENT_STATE_MASK) !== AGENT_DEAD) continue;
    // D1 of death.ts. The last of those that found it raises DEATHS and ALERT_DEAD, and it is
    // looked at again.
    if (atomicLoad(memory.words, record + AGENT_FINDERS) !== 0) continue;
    const isEmpty = yield* releaseList(memory, record + AGENT_RESOURCES);
    // + 1: from dead to free, and on to the next generation.
    if (isEmpty) atomicCompareExchange(memory.words, record + AGENT_STATE, state, (state + 1) | 0);
  }
  yield* access(memory, "read", DEATHS, 1, "deaths");
  settleAlert(memory);
}

/**
 * Takes ALERT_DEAD away unless there is still somebody dead. Clear first, look after: an agent
 * declared dead in between has set the flag again, or is found here. Look once more after setting
 * it, for the one that was found may have been reaped and the flag cleared by another thread before
 * it was set here; then nobody would ever clear it, and no fast path be taken.
 *
 * @spelled reaper
 */
function settleAlert(memory: SharedMemory): void {
  for (;;) {
    atomicAnd(memory.words, ALERT, ~ALERT_DEAD);
    if (!anyDead(memory)) return;
    atomicOr(memory.words, ALERT, ALERT_DEAD);
    if (anyDead(memory)) return;
  }
}

/**
 * The first entry of a list from `start` on, its end if there is none. Others only take entries
 * away.
 */
function nextListed(memory: SharedMemory, start: number, end: number): number {
  let at = start;
  while (at < end && atomicLoad(memory.words, at) === 0) at += RESOURCE_WORDS;
  return at;
}

/**
 * True if nothing is left on the list.
 *
 * @spelled reaper
 */
function* releaseList(memory: SharedMemory, list: number): Task<boolean> {
  let isEmpty = true;
  const end = list + RESOURCE_LIMIT * RESOURCE_WORDS;
  for (
    let at = nextListed(memory, list, end);
    at < end;
    at = nextListed(memory, at + RESOURCE_WORDS, end)
  ) {
    yield* access(memory, "update", at, RESOURCE_WORDS, "what a dead thread owned");
    const kind = atomicLoad(memory.words, at);
    if (kind === 0) continue; // another reaper has it
    const releaser = releasers.find(kind);
    if (releaser === undefined) {
      isEmpty = false;
      continue;
    }
    const pointer = plainLoad(memory.words, at + 1);
    if (atomicCompareExchange(memory.words, at, kind, 0) !== kind) continue;
    try {
      yield* releaser(memory, pointer);
    } catch (error) {
      // Ignored, this would be a silent leak; if the machine has stopped, that error says more.
      declarePanic(
        memory,
        ENOTRECOVERABLE,
        `Cannot release ${releasers.nameOf(kind)} of a dead thread: ${String(error)}`,
      );
      throw error;
    }
  }
  return isEmpty;
}

/** @spelled reaper */
function anyDead(memory: SharedMemory): boolean {
  for (let agentId = 0, end = atomicLoad(memory.words, AGENTS_USED); agentId < end; agentId++) {
    const record = agentRecord(agentId);
    const isDead =
      (atomicLoad(memory.words, record + AGENT_STATE) & AGENT_STATE_MASK) === AGENT_DEAD;
    if (isDead && atomicLoad(memory.words, record + AGENT_FINDERS) === 0) return true;
  }
  return false;
}
