/**
 * @module devices/service/service-owner
 * The service owner: the one thread that serves a device's faults at the moment. Like the owner of
 * a mutex, but no lock of sync/, for two reasons:
 *
 *   - The service owner registers and unregisters ranges, so it drops mm users. The last one takes
 *     an address space down, and no lock may be held there.
 *   - Device threads spend much of their time as the service owner, and may be terminated at any
 *     time. A lock whose owner dies stops the machine. A service owner that died holding no lock is
 *     replaced: a reaper ends its service and frees the frames that it was filling (those in state
 *     loading, for only the service owner fills frames).
 *
 * The service owner is outermost: nobody who holds a lock may wait to become it. The words:
 * `serviceOwner`, 0 or the owner's name (`liveAgent`), changed by compare-and-swap; `ownerQueue`,
 * those who wait; `batchesBegun` and `batchesDone`, by which a thread sees that another one has
 * served its faults, so that it need not become the owner itself.
 */

import {
  access,
  assertNoLockHeld,
  atomicCompareExchange,
  atomicLoad,
  atomicStore,
  bug,
  hasAgentDied,
  liveAgent,
  type Task,
} from "../../driver-interface.ts";
import { DeviceRecord } from "./device-record.ts";
import type { FaultRing } from "./fault-ring.ts";
import { FRAME_LOADING, Frames } from "./frames.ts";

/**
 * Answer of `becomeServiceOwner`: there is nothing left to do, and this thread is not the owner.
 */
export const SERVED_BY_ANOTHER = 1;

const OWNER: number = DeviceRecord.offset.serviceOwner;
const BEGUN: number = DeviceRecord.offset.batchesBegun;
const DONE_BATCHES: number = DeviceRecord.offset.batchesDone;
/** The owner and the two counts, which lie behind it. */
const OWNER_WORDS = 3;

/**
 * Waits until this thread is the service owner: 0. With `ring` (this thread's own),
 * SERVED_BY_ANOTHER as soon as another thread has taken everything out of it and served it. In a
 * thread of the device, or its owner's. Holding no lock.
 */
export function* becomeServiceOwner(record: DeviceRecord, ring?: FaultRing): Task<number> {
  const { memory, at, ownerQueue } = record;
  assertNoLockHeld(
    memory,
    "becomeServiceOwner",
    "the service owner takes the mmap lock, and drops mm users",
  );
  const isServed = ring === undefined ? (): boolean => false : servedTest(record, ring);
  const isOver = (): boolean => atomicLoad(memory.words, at + OWNER) === 0 || isServed();
  for (;;) {
    if (ring !== undefined && ring.countWaiting() === 0) {
      yield* access(memory, "read", at + BEGUN, OWNER_WORDS - 1, "device batches");
      if (isServed()) return SERVED_BY_ANOTHER;
    }
    if (claim(record)) return 0;
    yield* ownerQueue.waitEvent(isOver);
  }
}

/**
 * Becomes the service owner if there is none.
 *
 * @stepped service owner
 */
function claim({ memory, at }: DeviceRecord): boolean {
  return atomicCompareExchange(memory.words, at + OWNER, 0, liveAgent(memory)) === 0;
}

/**
 * Whether a batch that took this thread's faults has ended. The ring is emptied after
 * `batchesBegun` was raised, so that is read second.
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
 * This thread is the service owner; `what` needs that. A compare, so always on: lockdep does not
 * know service owners.
 *
 * @stepped service owner
 */
export function assertServiceOwner({ memory, at }: DeviceRecord, what: string): void {
  if (atomicLoad(memory.words, at + OWNER) >>> 0 !== liveAgent(memory))
    bug(
      `${what} while not the device's service owner: another thread may be serving at the same time; become the service owner first`,
    );
}

/**
 * A batch is about to take faults out of the rings. As the service owner.
 *
 * @stepped service owner
 */
export function* beginBatch({ memory, at }: DeviceRecord): Task<void> {
  atomicStore(memory.words, at + BEGUN, (atomicLoad(memory.words, at + BEGUN) + 1) | 0);
}

/**
 * Pairs with `becomeServiceOwner`.
 *
 * @stepped service owner
 */
export function* resignServiceOwner({ memory, at, ownerQueue }: DeviceRecord): Task<void> {
  atomicStore(memory.words, at + DONE_BATCHES, atomicLoad(memory.words, at + BEGUN));
  atomicStore(memory.words, at + OWNER, 0);
  yield* ownerQueue.wakeAll();
}

/**
 * Resigns for a service owner that has died, if that is so. Called when a thread of the device, or
 * its owner, is reaped: so a thread need not list that it becomes the service owner, and there is
 * no moment at which a dead thread is the service owner and nobody knows.
 *
 * Two reapers may be here for one device: of one thread, whose record another reaper has made free
 * meanwhile, or of two. One of them becomes the service owner in the dead one's place, so that no
 * frame is given that the next owner fills. If it dies, what it was releasing is released again.
 *
 *     reaper                             another reaper
 *     the service owner is dead
 *                                        the same; gives the frames, resigns
 *                                        (a third thread becomes the owner, and fills a frame)
 *     gives that frame, too [the owner is another one: does nothing]
 *
 * @stepped service owner
 */
export function* resignForDead(record: DeviceRecord): Task<void> {
  const { memory, at } = record;
  const owner = atomicLoad(memory.words, at + OWNER);
  if (owner === 0 || !(yield* hasAgentDied(memory, owner >>> 0))) return;
  const self = liveAgent(memory);
  if (atomicCompareExchange(memory.words, at + OWNER, owner, self) !== owner) return;
  const frames = new Frames(record);
  yield* record.driverLock.lock();
  for (let frame = 0; frame < frames.frames; frame++)
    if (frames.stateOf(frame) === FRAME_LOADING) frames.give(frame);
  yield* record.driverLock.unlock();
  yield* resignServiceOwner(record);
}
