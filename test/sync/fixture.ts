/**
 * @module A small machine for the tests of this layer: one of each primitive and some free words,
 * in every thread.
 */

import { registerAgent, selectAgent } from "../../src/sync/runners/agents.ts";
import { Completion } from "../../src/sync/primitives/completion.ts";
import {
  AGENT_HELD,
  AGENT_READS,
  CONTROL_WORDS,
  HELD_LIMIT,
} from "../../src/sync/control-block.ts";
import { lockClass } from "../../src/sync/lock-class.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import { RefCount } from "../../src/sync/primitives/refcount.ts";
import { RwSem } from "../../src/sync/primitives/rwsem.ts";
import { SeqCount } from "../../src/sync/primitives/seqcount.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
import { Shootdown } from "../../src/sync/primitives/shootdown.ts";
import { Spinlock } from "../../src/sync/primitives/spinlock.ts";
import { Srcu } from "../../src/sync/primitives/srcu.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";

const SPACING_WORDS = 64;
export const DATA_WORDS = 256;

export interface Fixture {
  readonly memory: SharedMemory;
  readonly mutex: Mutex;
  readonly otherMutex: Mutex;
  readonly spinlock: Spinlock;
  readonly rwsem: RwSem;
  readonly otherRwsem: RwSem;
  readonly refcount: RefCount;
  readonly queue: WaitQueue;
  readonly go: Completion;
  readonly done: Completion;
  readonly srcu: Srcu;
  readonly seqcount: SeqCount;
  readonly shootdown: Shootdown;
  /** First of DATA_WORDS free words. */
  readonly data: number;
}

/** The primitives at their places in `memory`. */
export function viewFixture(memory: SharedMemory): Fixture {
  let next = CONTROL_WORDS;
  const place = (): number => (next += SPACING_WORDS) - SPACING_WORDS;
  return {
    memory,
    mutex: new Mutex(memory, place(), lockClass("testMutex")),
    otherMutex: new Mutex(memory, place(), lockClass("testOtherMutex")),
    spinlock: new Spinlock(memory, place(), lockClass("testSpinlock")),
    rwsem: new RwSem(memory, place(), lockClass("testRwSem")),
    refcount: new RefCount(memory, place()),
    queue: new WaitQueue(memory, place(), { name: "test queue" }),
    go: new Completion(memory, place()),
    done: new Completion(memory, place()),
    srcu: new Srcu(memory, place(), lockClass("testSrcu")),
    seqcount: new SeqCount(memory, place()),
    shootdown: new Shootdown(memory, place()),
    otherRwsem: new RwSem(memory, place(), lockClass("testOtherRwSem")),
    data: place(),
  };
}

/** A fresh machine with this thread registered on it. */
export function makeFixture(
  options: { readonly debug?: boolean; readonly name?: string } = {},
): Fixture {
  const initialBytes = (CONTROL_WORDS + SPACING_WORDS * 13 + DATA_WORDS) * 4;
  const memory = SharedMemory.create({
    initialBytes,
    maxBytes: initialBytes * 2,
    debug: options.debug ?? false,
  });
  registerAgent(memory, { name: options.name ?? "main" });
  const fixture = viewFixture(memory);
  fixture.refcount.init(1);
  return fixture;
}

/** Everything free again and the data 0, as on a fresh machine, whatever was held. */
export function resetFixture({ memory, refcount }: Fixture): void {
  memory.words.fill(0, CONTROL_WORDS);
  memory.words.fill(0, memory.record + AGENT_READS, memory.record + AGENT_HELD + HELD_LIMIT);
  selectAgent(memory, memory.agentId);
  refcount.init(1);
}
