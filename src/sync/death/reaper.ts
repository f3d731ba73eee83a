/**
 * @module Releases what dead threads owned, by the release functions that the upper layers
 * registered (resources.ts).
 *
 * A reaper claims each entry by a compare-exchange before it releases it: so no resource is
 * released twice. In the same step the entry becomes the reaper's own, if the kind has an heir
 * (`registerHeir`):
 *
 *     reaper                               another thread
 *     entry of the dead thread -> 0
 *     entry of its own, in a row (H1 of lockdep/held-locks.ts)
 *     releases a part
 *     [dead]
 *                                          finds it dead, and the entry in its list
 *                                          releases the rest; the entry goes with that
 *
 * Of a kind without an heir, and if the reaper's list is full, what is left leaks. A thread that
 * has no release function for a kind leaves the entry to a thread that has one. The record becomes
 * free when its list is empty.
 *
 * While one reaper releases something, another one may find the list empty and make the record
 * free: then a new thread has the dead one's number. So a release function that looks for what the
 * dead thread did knows it by its name (`liveAgent` of tasks/identity.ts).
 *
 * A release function may need any lock. So reaping is a task of its own, and the runners start it
 * only if no task suspended beneath it holds a lock.
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
import { recover } from "./recovery.ts";
import { kindWord, releasers, reserveResource } from "../lockdep/resources.ts";
import type { SharedMemory } from "../shared-memory.ts";
import { access } from "../tasks/task.ts";
import type { Task } from "../tasks/task.ts";

/**
 * What this thread knew at its last attempt. It does not try again before one of them has changed.
 */
const lastTry = new WeakMap<SharedMemory, { deaths: number; releasers: number }>();

/**
 * Whether there may be something that this thread can reap. Cheap if no thread is dead.
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
    // D1 of death.ts. The last finder will raise DEATHS and set ALERT_DEAD, and then a reaper
    // checks this record again.
    if (atomicLoad(memory.words, record + AGENT_FINDERS) !== 0) continue;
    // First: a release function may want a semaphore that the dead thread keeps until then.
    if (!(yield* recover(memory, record))) continue;
    const isEmpty = yield* releaseList(memory, record + AGENT_RESOURCES);
    // + 1: from dead to free, in the next generation.
    if (isEmpty) atomicCompareExchange(memory.words, record + AGENT_STATE, state, (state + 1) | 0);
  }
  yield* access(memory, "read", DEATHS, 1, "deaths");
  clearDeadAlert(memory);
}

/**
 * Clears ALERT_DEAD unless a dead agent is left. It clears first and checks after: an agent that is
 * declared dead in between has set the flag again, or is found here. It checks again after it has
 * set the flag: before that, another thread may have reaped the agent and cleared the flag. Then
 * nobody would clear it again, and no fast path would ever be taken.
 *
 * @spelled reaper
 */
function clearDeadAlert(memory: SharedMemory): void {
  for (;;) {
    atomicAnd(memory.words, ALERT, ~ALERT_DEAD);
    if (!anyDead(memory)) return;
    atomicOr(memory.words, ALERT, ALERT_DEAD);
    if (anyDead(memory)) return;
  }
}

/**
 * The first entry of a list at or after `start`; `end` if there is none. Other threads only remove
 * entries.
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
    const known = releasers.find(kind);
    if (known === undefined) {
      isEmpty = false;
      continue;
    }
    const pointer = plainLoad(memory.words, at + 1);
    const own = known.isInherited ? reserveResource(memory, pointer) : -1;
    const ownAt = kindWord(memory, own);
    if (atomicCompareExchange(memory.words, at, kind, 0) !== kind) continue;
    if (ownAt !== 0) memory.words[ownAt] = kind; // in a row
    try {
      yield* known.release(memory, pointer, own);
    } catch (error) {
      // To ignore it would be a silent leak. If the machine has stopped, the first panic stays.
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
