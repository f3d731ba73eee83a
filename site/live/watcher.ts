/**
 * @module What the live page sees of invalidations: a driver that has nothing but a bare notifier
 * on a space. It writes each range down, in shared memory, in the thread that changes the mapping,
 * before the change. The page looks at the list in each frame that it draws.
 *
 * Its call-backs run in whatever thread changes a mapping. So every module of the page whose thread
 * attaches to the machine imports this one.
 *
 * Lock: watchLock, a leaf, around the list.
 */

import { type AddressSpace } from "hmm-ts";
import {
  DriverNotifier,
  DriverThread,
  ENOMEM,
  type Errno,
  type InvalidateRange,
  type Machine,
  type Mm,
  Spinlock,
  type Struct,
  type StructView,
  type Task,
  type WordArray,
  array,
  driverNotifierRegister,
  driverNotifierUnregister,
  embed,
  embedStruct,
  errnoName,
  eventName,
  registerDriverNotifierOps,
  struct,
  u32,
} from "hmm-ts/driver";

/** Ranges that the list holds; of more, the oldest are lost. */
const RANGES_MAX = 64;
const WORDS_PER_RANGE = 3;

/** One invalidation, as page numbers; `end` exclusive. */
export interface Invalidation {
  readonly startPage: number;
  readonly endPage: number;
  /** Why, in words. */
  readonly event: string;
}

interface Watch extends StructView {
  readonly notifier: DriverNotifier;
  readonly lock: Spinlock;
  count: number;
  readonly ranges: WordArray;
}

const Watch: Struct<Watch> = struct<Watch>("liveWatch", {
  notifier: embedStruct(DriverNotifier, "hmm", "the notifier"),
  lock: embed(Spinlock, "the list", "watchLock"),
  count: u32("lock", "ranges that were ever written down"),
  ranges: array(
    RANGES_MAX * WORDS_PER_RANGE,
    "lock",
    "first and last page, and event, of each, in a circle",
  ),
});

function watchOf({ memory }: Machine, notifier: number): Watch {
  return Watch.at(memory, Watch.containerOf(notifier, "notifier"));
}

const OPS = registerDriverNotifierOps("live page", {
  *invalidateRangeStart(machine: Machine, notifier: number, range: InvalidateRange): Task<Errno> {
    const watch = watchOf(machine, notifier);
    yield* watch.lock.lock();
    const at = (watch.count % RANGES_MAX) * WORDS_PER_RANGE;
    watch.ranges.set(at, range.startPage);
    watch.ranges.set(at + 1, range.endPage - 1); // the end may be 2^32
    watch.ranges.set(at + 2, range.event);
    watch.count++;
    yield* watch.lock.unlock();
    return 0;
  },
  *orphaned(machine: Machine, notifier: number): Task<void> {
    yield* machine.heap.free(Watch, watchOf(machine, notifier).at);
  },
});

function* openWatch(machine: Machine, mm: Mm): Task<Watch | Errno> {
  const at = yield* machine.heap.alloc(Watch);
  if (at === 0) return ENOMEM;
  const watch = Watch.at(machine.memory, at);
  yield* mm.mmapLock.downWrite();
  const errno = yield* driverNotifierRegister(machine, mm, watch.notifier, OPS);
  yield* mm.mmapLock.upWrite();
  if (errno === 0) return watch;
  yield* machine.heap.free(Watch, at);
  return errno;
}

function* closeWatch(machine: Machine, watch: Watch): Task<void> {
  yield* driverNotifierUnregister(machine, watch.notifier);
  yield* machine.heap.free(Watch, watch.at);
}

/** The ranges from number `from` on that the list still has, and how many there have been. */
function* readWatch(
  watch: Watch,
  from: number,
): Task<{ readonly found: Invalidation[]; readonly count: number }> {
  const found: Invalidation[] = [];
  yield* watch.lock.lock();
  const { count, ranges } = watch;
  for (let number = Math.max(from, count - RANGES_MAX); number < count; number++) {
    const at = (number % RANGES_MAX) * WORDS_PER_RANGE;
    found.push({
      startPage: ranges.get(at) >>> 0,
      endPage: (ranges.get(at + 1) >>> 0) + 1,
      event: eventName(ranges.get(at + 2)),
    });
  }
  yield* watch.lock.unlock();
  return { found, count };
}

/** The invalidations of one space, in order. */
export class Watcher {
  readonly #driver: DriverThread;
  readonly #watch: Watch;
  #seen = 0;

  private constructor(driver: DriverThread, watch: Watch) {
    this.#driver = driver;
    this.#watch = watch;
  }

  /** Rejects where the machine has no memory left for it. */
  static async open(space: AddressSpace): Promise<Watcher> {
    const driver = DriverThread.open(space);
    const watch = await driver.runOnSpace(space, (mm) => openWatch(driver.machine, mm));
    if (typeof watch !== "number") return new Watcher(driver, watch);
    driver.close();
    throw new Error(`The page cannot watch the space: ${errnoName(watch)}`);
  }

  /** Those that were not taken yet. */
  async take(): Promise<readonly Invalidation[]> {
    const { found, count } = await this.#driver.run(readWatch(this.#watch, this.#seen));
    this.#seen = count;
    return found;
  }

  /** No `take` may be under way. */
  async close(): Promise<void> {
    await this.#driver.run(closeWatch(this.#driver.machine, this.#watch));
    this.#driver.close();
  }
}
