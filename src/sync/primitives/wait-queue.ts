/**
 * @module Wait queue: sleep until a condition over shared words holds. After include/linux/wait.h.
 *
 * | word | name | meaning |
 * | --- | --- | --- |
 * | 0 | SEQUENCE | futex of the sleepers, counts the wakes |
 * | 1 | WAITERS | how many wait, or more: a thread that died while it waited stays counted, which only costs needless wakes |
 *
 * The waker changes what the condition reads FIRST and wakes AFTER. The waiter counts itself and
 * reads SEQUENCE FIRST and tests AFTER. So a wake is never lost:
 *
 *      waiter                                waker
 *      WAITERS += 1
 *      reads SEQUENCE = s
 *      tests the condition: false
 *                                            makes it true
 *                                            SEQUENCE = s + 1, wakes
 *      sleeps while SEQUENCE = s: not at all
 *
 * EXPLORED mode: the same loop, in described steps: "enqueue" (counts itself and reads SEQUENCE),
 * "testCondition", "park", and back to "enqueue"; "dequeue" at the end. "park" is enabled after a
 * wake that came since "enqueue"; the scheduler may also send TIMED_OUT, or a spurious WOKEN. The
 * first test of waitEvent is left out in this mode: it finds nothing that the test after "enqueue"
 * does not find.
 */

import { atomicAdd, atomicLoad, atomicSub, futexWake } from "../atomics.ts";
import { currentTask } from "../tasks/current-task.ts";
import { hasAnyDied } from "../tasks/identity.ts";
import { EDEADLK } from "../errno.ts";
import { HmmError } from "../errors.ts";
import { beforeSleep } from "../lockdep/lockdep.ts";
import { EXPLORED, REAL } from "../shared-memory.ts";
import type { SharedMemory } from "../shared-memory.ts";
import {
  DONE,
  DONE_FALSE,
  DONE_TRUE,
  TIMED_OUT,
  WOKEN,
  conditionStep,
  describe,
  park,
  step,
  taskMs,
} from "../tasks/task.ts";
import type { Task, WaitKind, Wake, WordRange } from "../tasks/task.ts";

const SEQUENCE = 0;
const WAITERS = 1;

/** Two words on which tasks sleep until a condition over shared words holds, or a timeout. */
export class WaitQueue {
  /** Words that one takes. */
  static readonly WORDS = 2;
  /** The memory that it lies in. */
  readonly memory: SharedMemory;
  /** Index of its first word. */
  readonly at: number;
  /** Its name in reports. */
  readonly label: string;

  constructor(
    memory: SharedMemory,
    at: number,
    label: { readonly name: string } = { name: "wait queue" },
  ) {
    this.memory = memory;
    this.at = at;
    this.label = label.name;
  }

  /** Empty. Only while nobody else can know the words. */
  init(): void {
    this.memory.words.fill(0, this.at, this.at + WaitQueue.WORDS);
  }

  /**
   * Waits until `condition` holds: true. False: `timeoutMs` have passed and it still does not hold.
   * 0 only tests; Infinity waits for ever. The condition may be tested at any time. It changes
   * nothing and takes no lock.
   *
   * `selfWait` returns true if only JavaScript of this thread could make the condition true. A
   * blocking wait would then never end: it throws EDEADLK before it begins.
   *
   * `reads`: the words that the condition reads, for an explorer. Their writers mark their writes
   * (task.ts, access). Without it an explorer must assume that the condition reads every word.
   *
   * `deaths`, from `deathsSoFar`: the wait ends, too, when another thread has been found dead
   * since, as with a timeout. For a caller that does then what the dead thread would have done.
   */
  waitEvent(
    condition: () => boolean,
    timeoutMs: number = Infinity,
    selfWait?: () => boolean,
    reads?: WordRange,
    deaths?: number,
  ): Task<boolean> {
    const { mode } = this.memory;
    if (mode !== REAL) beforeSleep(this.label);
    if (mode === REAL) {
      if (condition()) return DONE_TRUE;
      if (timeoutMs <= 0) return DONE_FALSE;
    }
    return this.waitSlow(condition, timeoutMs, selfWait, reads, deaths);
  }

  /**
   * Lets every waiter test its condition. Call it after the change; a spinlock may be held.
   *
   * @spelled wait queue
   */
  wakeAll(): Task<void> {
    if (this.memory.mode !== REAL) return this.wakeInSteps("wakeAll", Infinity);
    this.wake(Infinity);
    return DONE;
  }

  /**
   * Lets one waiter test its condition: the one that sleeps longest. For conditions that the first
   * waiter to see them makes false again.
   *
   * @spelled wait queue
   */
  wakeOne(): Task<void> {
    if (this.memory.mode !== REAL) return this.wakeInSteps("wakeOne", 1);
    this.wake(1);
    return DONE;
  }

  /** @spelled wait queue */
  private wake(count: number): void {
    const { at } = this;
    const words = this.memory.words;
    // SEQUENCE changes even if nobody seems to wait: the race above needs that before WAITERS is
    // read.
    atomicAdd(words, at + SEQUENCE, 1);
    if (atomicLoad(words, at + WAITERS) > 0) futexWake(words, at + SEQUENCE, count);
  }

  /** @spelled wait queue */
  private *waitSlow(
    condition: () => boolean,
    timeoutMs: number,
    selfWait?: () => boolean,
    reads?: WordRange,
    deaths?: number,
  ): Task<boolean> {
    const { memory, at, label } = this;
    const deadlineMs = timeoutMs === Infinity ? Infinity : taskMs(memory) + timeoutMs;
    yield* step(memory, "enqueue", at, WaitQueue.WORDS, label);
    atomicAdd(memory.words, at + WAITERS, 1);
    try {
      for (let wake: Wake = WOKEN; ;) {
        const sequence = atomicLoad(memory.words, at + SEQUENCE);
        yield* conditionStep(memory, at, label, condition, reads);
        const holds = condition();
        const leftMs = deadlineMs === Infinity ? Infinity : deadlineMs - taskMs(memory);
        if (holds || leftMs <= 0 || wake === TIMED_OUT) {
          yield* step(memory, "dequeue", at, WaitQueue.WORDS, label);
          return holds;
        }
        if (currentTask.isBlocking && selfWait?.() === true) this.refuseSelfWait();
        wake = yield park(memory, at + SEQUENCE, sequence, leftMs, label);
        if (deaths !== undefined && (yield* hasAnyDied(memory, deaths))) wake = TIMED_OUT;
        // After a timeout the condition is tested once more. That needs no place in the queue.
        if (wake !== TIMED_OUT) yield* step(memory, "enqueue", at, WaitQueue.WORDS, label);
      }
    } finally {
      atomicSub(memory.words, at + WAITERS, 1);
    }
  }

  private refuseSelfWait(): never {
    throw new HmmError(
      EDEADLK,
      "wait",
      `Cannot wait for ${this.label}: only this thread could end the wait; end it first, or use the form that returns a promise`,
    );
  }

  private *wakeInSteps(kind: WaitKind, count: number): Task<void> {
    if (this.memory.mode === EXPLORED)
      yield describe(kind, this.memory, this.at, WaitQueue.WORDS, this.label);
    this.wake(count);
  }
}
