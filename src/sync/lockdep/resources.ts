/**
 * @module What a thread owns on a machine besides locks: mm users, pins, views, ranges. Its agent
 * record lists them, so that other threads can release them when it dies (reaper.ts).
 *
 * A kind of resource is a name. Its release function is code, so each thread registers it. Only the
 * owner writes its list while it lives. Add an entry directly after taking the resource, and remove
 * it directly before giving the resource back. A thread that is terminated in between leaks that
 * resource; this is better than to release it twice. Where taking and giving back are changes under
 * a lock that can be undone, the entry is a part of them ({@link addResourceUnder}): then nothing
 * lies in between.
 */

import { plainLoad } from "../atomics.ts";
import { AGENT_RESOURCES, RESOURCE_LIMIT, RESOURCE_WORDS } from "../control-block.ts";
import { bug } from "../errors.ts";
import { NameRegistry } from "../name-registry.ts";
import type { SharedMemory } from "../shared-memory.ts";
import type { Task } from "../tasks/task.ts";
import { undoStore } from "../words/undo-log.ts";

/** Gives back what a dead thread owned. Runs in another thread, holding no lock; may wait. */
export type Releaser = (memory: SharedMemory, pointer: number) => Task<void>;

/**
 * The same of a resource that is the releasing thread's own by then, at `slot`; -1: its list is
 * full. The entry goes, or becomes another, in the step that gives the resource back. So if that
 * thread dies, who finds it dead calls it again: it goes on where it ended.
 */
export type Heir = (memory: SharedMemory, pointer: number, slot: number) => Task<void>;

/** How a kind is released. */
interface Release {
  readonly release: Heir;
  /** Whether `release` is an heir's. */
  readonly isInherited: boolean;
}

/** The kinds, and how this thread releases each. */
export const releasers: NameRegistry<Release> = new NameRegistry(
  "resources of kind",
  "import the module that owns them",
);

/** The number of a kind: equal in all threads. */
export function resourceKind(name: string): number {
  return releasers.declare(name);
}

/**
 * Registers how this thread releases a kind. Once for each kind, normally when the module that owns
 * it is loaded. If the thread dies in it, what is left of the resource leaks.
 */
export function registerReleaser(kind: number, releaser: Releaser): void {
  releasers.set(kind, { release: releaser, isInherited: false });
}

/** As {@link registerReleaser}; if the thread dies in it, nothing leaks. */
export function registerHeir(kind: number, heir: Heir): void {
  releasers.set(kind, { release: heir, isInherited: true });
}

/**
 * Lists a resource of this `kind` at `pointer` as owned by this agent. Returns the slot for
 * {@link removeResource}; -1 if the list is full.
 */
export function addResource(memory: SharedMemory, kind: number, pointer: number): number {
  return addResourceUnder(memory, 0, kind, pointer);
}

/**
 * As {@link addResource}, as part of a change of what `lock` guards: if that is undone
 * (words/undo-log.ts), the entry is gone, too, and the slot names again what it did: a
 * {@link removeResourceUnder} of the same change may just have freed it. Holding the lock.
 */
export function addResourceUnder(
  memory: SharedMemory,
  lock: number,
  kind: number,
  pointer: number,
): number {
  const words = memory.words;
  const base = memory.record + AGENT_RESOURCES;
  for (let tried = 0, slot = memory.resourceNext; tried < RESOURCE_LIMIT; tried++) {
    const at = base + slot * RESOURCE_WORDS;
    const next = (slot + 1) % RESOURCE_LIMIT;
    if (words[at] === 0) {
      storeUnder(memory, lock, at + 1, pointer);
      storeUnder(memory, lock, at, kind);
      memory.resourceNext = next;
      return slot;
    }
    slot = next;
  }
  return -1;
}

/**
 * A slot whose entry has its pointer and no kind yet: the caller lists the resource by a store at
 * {@link kindWord}, in the step that gets it, before it waits for anything. -1 if the list is full.
 */
export function reserveResource(memory: SharedMemory, pointer: number): number {
  const { words } = memory;
  for (let tried = 0, slot = memory.resourceNext; tried < RESOURCE_LIMIT; tried++) {
    const at = memory.record + AGENT_RESOURCES + slot * RESOURCE_WORDS;
    const next = (slot + 1) % RESOURCE_LIMIT;
    if (words[at] === 0) {
      words[at + 1] = pointer;
      memory.resourceNext = next; // another task of this thread may reserve one meanwhile
      return slot;
    }
    slot = next;
  }
  return -1;
}

/**
 * What a word of the heap notes, at `pointer`, becomes a resource of this thread: in a row with
 * that (H1 of held-locks.ts) the word `note`, if there is one, becomes `left`. Returns its slot; -1
 * if the list is full.
 */
export function takeNoted(
  memory: SharedMemory,
  kind: number,
  pointer: number,
  note: number,
  left: number = 0,
): number {
  const slot = reserveResource(memory, pointer);
  const kindAt = kindWord(memory, slot);
  const { words } = memory;
  if (kindAt !== 0) words[kindAt] = kind;
  if (note !== 0) words[note] = left;
  return slot;
}

/** The word of a slot that has its kind; of -1, 0. */
export function kindWord({ record }: SharedMemory, slot: number): number {
  return slot < 0 ? 0 : record + AGENT_RESOURCES + slot * RESOURCE_WORDS;
}

/**
 * Makes another resource of one, as part of a change of what `lock` guards. `slot` -1: it was not
 * listed, and is now. Returns its slot; -1 if the list is full. Holding the lock.
 */
export function changeResourceUnder(
  memory: SharedMemory,
  lock: number,
  slot: number,
  kind: number,
  pointer: number,
): number {
  if (slot < 0) return addResourceUnder(memory, lock, kind, pointer);
  const at = kindWord(memory, slot);
  undoStore(memory, lock, at + 1, pointer);
  undoStore(memory, lock, at, kind);
  return slot;
}

/** Makes another resource of the one at `slot`, in a step. -1: there is none. */
export function changeResource(
  memory: SharedMemory,
  slot: number,
  kind: number,
  pointer: number,
): void {
  if (slot < 0) return;
  const at = kindWord(memory, slot);
  const { words } = memory;
  words[at + 1] = pointer; // in a row (H1 of held-locks.ts)
  words[at] = kind;
}

/** Removes an entry that {@link addResource} made. */
export function removeResource(memory: SharedMemory, slot: number): void {
  removeResourceUnder(memory, 0, slot);
}

/**
 * As {@link removeResource}, as part of a change of what `lock` guards: if that is undone, this
 * thread still owns it. Holding the lock.
 */
export function removeResourceUnder(memory: SharedMemory, lock: number, slot: number): void {
  const at = memory.record + AGENT_RESOURCES + slot * RESOURCE_WORDS;
  if (plainLoad(memory.words, at) === 0) bug(`resource slot ${slot} is free already`);
  storeUnder(memory, lock, at, 0);
  memory.resourceNext = slot;
}

/** `lock` 0: a store that nothing undoes. */
function storeUnder(memory: SharedMemory, lock: number, index: number, value: number): void {
  if (lock === 0) memory.words[index] = value;
  else undoStore(memory, lock, index, value);
}

/** The slot of what was listed so lately; -1: it is not listed, because the list was full. */
export function findResource(memory: SharedMemory, kind: number, pointer: number): number {
  const base = memory.record + AGENT_RESOURCES;
  for (let tried = 1; tried <= RESOURCE_LIMIT; tried++) {
    const slot = (memory.resourceNext - tried + RESOURCE_LIMIT) % RESOURCE_LIMIT;
    const at = base + slot * RESOURCE_WORDS;
    if (memory.words[at] === kind && memory.words[at + 1] === pointer) return slot;
  }
  return -1;
}

/** Names of the kinds on an agent's list: for the error if it unregisters while it owns some. */
export function listedResources(memory: SharedMemory, record: number): string[] {
  const kinds: string[] = [];
  for (let slot = 0; slot < RESOURCE_LIMIT; slot++) {
    const kind = plainLoad(memory.words, record + AGENT_RESOURCES + slot * RESOURCE_WORDS);
    if (kind !== 0) kinds.push(releasers.nameOf(kind));
  }
  return kinds;
}
