/**
 * @module devices/software/service-turn
 * Whose turn it is to serve a device's faults. A mutex by its use, but none of sync's, for two
 * reasons:
 *
 *   - Whoever has the turn registers and unregisters ranges, so drops mm users, and the last one
 *     takes an address space down: no lock may be held there.
 *   - Device threads spend much of their time here, and may be terminated at any time. A lock whose
 *     owner dies stops the machine; the turn of a thread that died holding nothing else is given
 *     back by a reaper, together with the frames it was filling (those in state loading: only who
 *     has the turn fills frames).
 *
 * It is outermost: nobody who holds a lock may wait for it. Words: `turnOwner`, 0 or the owner's
 * thread plus 1, changed by compare-and-swap; `turnQueue`, those who wait; `batchesBegun` and
 * `batchesDone`, by which a thread sees that another one has served its faults, and need not wait
 * for a turn of its own.
 */

import type { Machine } from "../../memory/machine.ts";
import { listAgents } from "../../sync/runners/agents.ts";
import { atomicCompareExchange, atomicLoad, atomicStore } from "../../sync/atomics.ts";
import { bug } from "../../sync/errors.ts";
import { assertNoLockHeld } from "../../sync/lockdep/held-locks.ts";
import { type Task, access } from "../../sync/tasks/task.ts";
import { DeviceRecord } from "./device-record.ts";
import { DeviceTable } from "./device-table.ts";
import type { FaultRing } from "./fault-ring.ts";
import { FRAME_LOADING } from "./frames.ts";

/** Answer of `takeTurn`: the turn was not taken, since there is nothing left to do. */
export const SERVED_BY_ANOTHER = 1;

const OWNER: number = DeviceRecord.offset.turnOwner;
const BEGUN: number = DeviceRecord.offset.batchesBegun;
const DONE_BATCHES: number = DeviceRecord.offset.batchesDone;
/** The owner and the two counts, which lie behind it. */
const TURN_WORDS = 3;

/**
 * Waits for the turn: 0. With `ring` (this thread's own), SERVED_BY_ANOTHER as soon as another
 * thread has taken everything out of it and served it. In a thread of the device, or its owner's.
 * Holding no lock.
 */
export function* takeTurn(record: DeviceRecord, ring?: FaultRing): Task<number> {
  const { memory, at, turnQueue } = record;
  assertNoLockHeld(memory, "takeTurn", "who has the turn takes the mmap lock, and drops mm users");
  const isServed = ring === undefined ? (): boolean => false : servedTest(record, ring);
  const isOver = (): boolean => atomicLoad(memory.words, at + OWNER) === 0 || isServed();
  for (;;) {
    if (ring !== undefined && ring.countWaiting() === 0) {
      yield* access(memory, "read", at + BEGUN, TURN_WORDS - 1, "device batches");
      if (isServed()) return SERVED_BY_ANOTHER;
    }
    if (claim(record)) return 0;
    yield* turnQueue.waitEvent(isOver);
  }
}

/**
 * Takes the turn if nobody has it.
 *
 * @stepped device turn
 */
function claim({ memory, at }: DeviceRecord): boolean {
  return atomicCompareExchange(memory.words, at + OWNER, 0, memory.agentId + 1) === 0;
}

/**
 * Whether a round that took this thread's faults has ended. The ring is emptied after
 * `batchesBegun` was raised, so that is looked at second.
 */
function servedTest({ memory, at }: DeviceRecord, ring: FaultRing): () => boolean {
  let batch: number | undefined;
  return () => {
    if (ring.countWaiting() > 0) return false;
    batch ??= atomicLoad(memory.words, at + BEGUN);
    return ((atomicLoad(memory.words, at + DONE_BATCHES) - batch) | 0) >= 0;
  };
}

/**
 * This thread has the turn; `what` needs that. A compare, so always on: lockdep knows nothing of
 * the turn.
 */
export function assertTurn({ memory, at }: DeviceRecord, what: string): void {
  if (atomicLoad(memory.words, at + OWNER) !== memory.agentId + 1)
    bug(
      `${what} without the device's turn: another thread may be serving at the same time; take the turn first`,
    );
}

/**
 * A round of service is about to take faults out of the rings. Holding the turn.
 *
 * @stepped device turn
 */
export function* beginBatch({ memory, at }: DeviceRecord): Task<void> {
  atomicStore(memory.words, at + BEGUN, (atomicLoad(memory.words, at + BEGUN) + 1) | 0);
}

/**
 * Gives the turn back.
 *
 * @stepped device turn
 */
export function* dropTurn({ memory, at, turnQueue }: DeviceRecord): Task<void> {
  atomicStore(memory.words, at + DONE_BATCHES, atomicLoad(memory.words, at + BEGUN));
  atomicStore(memory.words, at + OWNER, 0);
  yield* turnQueue.wakeAll();
}

/**
 * Takes the turn from a thread that has died with it. Called when a thread of the device, or its
 * owner, is reaped: so nothing has to be listed for each turn, and there is no moment at which a
 * dead thread has the turn and nobody knows.
 *
 * @stepped device turn
 */
export function* releaseTurnOfDead(machine: Machine, record: DeviceRecord): Task<void> {
  const { memory, at } = record;
  const owner = atomicLoad(memory.words, at + OWNER) - 1;
  if (!listAgents(memory).some(({ id, isDead }) => id === owner && isDead)) return;
  const { frames } = new DeviceTable(machine, record);
  yield* record.driverLock.lock();
  for (let frame = 0; frame < frames.frames; frame++)
    if (frames.stateOf(frame) === FRAME_LOADING) frames.give(frame);
  yield* record.driverLock.unlock();
  yield* dropTurn(record);
}
