/**
 * @module What a thread owns on a machine beyond locks: mm users, pins, views, ranges. Listed in
 * its agent record, so that the others can release it when the thread dies (reaper.ts).
 *
 * Kinds are names; the release function of a kind is code and so registered in each thread. Only
 * the owner writes its list while it lives. Add an entry directly after taking what it stands for,
 * and remove it directly before giving that back: a thread that is terminated in between leaks that
 * one thing, which is better than releasing it twice.
 */

import { plainLoad } from "../atomics.ts";
import { AGENT_RESOURCES, RESOURCE_LIMIT, RESOURCE_WORDS } from "../control-block.ts";
import { bug } from "../errors.ts";
import { NameRegistry } from "../name-registry.ts";
import type { SharedMemory } from "../shared-memory.ts";
import type { Task } from "../tasks/task.ts";

/** Gives back what a dead thread owned. Runs in another thread, holding no lock; may wait. */
export type Releaser = (memory: SharedMemory, pointer: number) => Task<void>;

/** The kinds, and how this thread releases each. */
export const releasers: NameRegistry<Releaser> = new NameRegistry(
  "resources of kind",
  "import the module that owns them",
);

/** The number of a kind: equal in all threads. */
export function resourceKind(name: string): number {
  return releasers.declare(name);
}

/**
 * Says how this thread releases a kind. Once for each kind, normally when the module that owns it
 * is loaded.
 */
export function registerReleaser(kind: number, releaser: Releaser): void {
  releasers.set(kind, releaser);
}

/**
 * Lists that this agent owns one `kind` at `pointer`. Returns the slot for {@link removeResource},
 * -1 if the list is full.
 */
export function addResource(memory: SharedMemory, kind: number, pointer: number): number {
  const words = memory.words;
  const base = memory.record + AGENT_RESOURCES;
  for (let tried = 0, slot = memory.resourceNext; tried < RESOURCE_LIMIT; tried++) {
    const at = base + slot * RESOURCE_WORDS;
    const next = (slot + 1) % RESOURCE_LIMIT;
    if (words[at] === 0) {
      words[at + 1] = pointer;
      words[at] = kind;
      memory.resourceNext = next;
      return slot;
    }
    slot = next;
  }
  return -1;
}

/** Takes back what {@link addResource} listed. */
export function removeResource(memory: SharedMemory, slot: number): void {
  const at = memory.record + AGENT_RESOURCES + slot * RESOURCE_WORDS;
  if (plainLoad(memory.words, at) === 0) bug(`resource slot ${slot} is free already`);
  memory.words[at] = 0;
  memory.resourceNext = slot;
}

/** Names of the kinds still on this agent's list, for the complaint when it leaves with some. */
export function listedResources(memory: SharedMemory, record: number): string[] {
  const kinds: string[] = [];
  for (let slot = 0; slot < RESOURCE_LIMIT; slot++) {
    const kind = plainLoad(memory.words, record + AGENT_RESOURCES + slot * RESOURCE_WORDS);
    if (kind !== 0) kinds.push(releasers.nameOf(kind));
  }
  return kinds;
}
