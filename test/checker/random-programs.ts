/**
 * @module Small programs drawn from a seed, over everything that blocks: for comparing engines with
 * each other.
 */

import { Cell } from "../../src/checker/primitives/program.ts";
import type { Condition, Places } from "../../src/checker/primitives/program.ts";
import { RandomNumbers } from "../../src/checker/engines/random-numbers.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { Completion } from "../../src/sync/primitives/completion.ts";
import { lockClass } from "../../src/sync/lock-class.ts";
import { Mutex } from "../../src/sync/primitives/mutex.ts";
import {
  addResource,
  registerReleaser,
  removeResource,
  resourceKind,
} from "../../src/sync/lockdep/resources.ts";
import { RefCount } from "../../src/sync/primitives/refcount.ts";
import { RwSem } from "../../src/sync/primitives/rwsem.ts";
import { Srcu } from "../../src/sync/primitives/srcu.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";
import { program } from "./programs/program-of.ts";

interface Shared {
  readonly cells: readonly Cell[];
  readonly mutexes: readonly Mutex[];
  readonly rwsem: RwSem;
  readonly queue: WaitQueue;
  readonly completion: Completion;
  readonly condition: Condition;
  readonly srcu: Srcu;
  /** Behind the mutex of those who release. */
  readonly owned: Cell;
  readonly count: RefCount;
}

type Action = (shared: Shared) => Task<unknown>;
/** Draws an action; `inner` draws what it does inside. */
type Maker = (random: RandomNumbers, inner: () => Action) => Action;

function start(places: Places): Shared {
  const cells = places.cells("x", 2);
  const { memory } = cells[0]!;
  const count = new RefCount(memory, places.take(RefCount.WORDS));
  count.init(2);
  return {
    cells,
    mutexes: places.mutexes("m", 2),
    rwsem: new RwSem(memory, places.take(RwSem.WORDS)),
    queue: new WaitQueue(memory, places.take(WaitQueue.WORDS)),
    completion: new Completion(memory, places.take(1)),
    condition: places.condition("c"),
    srcu: new Srcu(memory, places.take(Srcu.WORDS)),
    count,
    owned: new Cell(memory, places.take(2) + 1, "owned"),
  };
}

const timeoutOf = (random: RandomNumbers): number => (random.below(2) === 0 ? 5 : Infinity);

const access: Maker = (random) => {
  const which = random.below(2);
  const value = random.below(2);
  const kind = random.below(4);
  return ({ cells }): Task<unknown> => {
    const cell = cells[which]!;
    if (kind === 0) return cell.load();
    if (kind === 1) return cell.store(value);
    return kind === 2 ? cell.compareExchange(value, value + 1) : cell.fetchAdd(1);
  };
};

const locking: Maker = (random, inner) => {
  const which = random.below(2);
  const [tries, keeps] = [random.below(3) === 0, random.below(8) === 0];
  const inside = inner();
  return function* (shared) {
    const mutex = shared.mutexes[which]!;
    if (tries) {
      if (!(yield* mutex.tryLock())) return;
    } else yield* mutex.lock();
    yield* inside(shared);
    if (!keeps) yield* mutex.unlock();
  };
};

const sharing: Maker = (random, inner) => {
  const kind = random.below(4);
  const inside = inner();
  return function* (shared) {
    const { rwsem } = shared;
    const reads = kind % 2 === 0;
    if (kind === 0) yield* rwsem.downRead();
    else if (kind === 1) yield* rwsem.downWrite();
    else if (!(yield* reads ? rwsem.tryDownRead() : rwsem.tryDownWrite())) return;
    yield* inside(shared);
    yield* reads ? rwsem.upRead() : rwsem.upWrite();
  };
};

const waiting: Maker = (random) => {
  const kind = random.below(4);
  const timeoutMs = timeoutOf(random);
  return function* ({ queue, cells }) {
    if (kind < 2) yield* queue.waitEvent(() => cells[0]!.peek() !== 0, timeoutMs);
    else {
      yield* cells[0]!.store(1);
      yield* kind === 2 ? queue.wakeAll() : queue.wakeOne();
    }
  };
};

const completing: Maker = (random) => {
  const kind = random.below(3);
  const timeoutMs = timeoutOf(random);
  return ({ completion }): Task<unknown> => {
    if (kind === 0) return completion.complete();
    return kind === 1 ? completion.wait(timeoutMs) : completion.wait();
  };
};

const conditional: Maker = (random) => {
  const kind = random.below(3);
  const timeoutMs = timeoutOf(random);
  return function* ({ condition, cells }) {
    yield* condition.mutex.lock();
    if (kind === 0) {
      if ((yield* cells[1]!.load()) === 0) yield* condition.wait(timeoutMs);
    } else {
      yield* cells[1]!.store(1);
      yield* kind === 1 ? condition.broadcast() : condition.signal();
    }
    yield* condition.mutex.unlock();
  };
};

const grace: Maker = (random, inner) => {
  const reads = random.below(2) === 0;
  const inside = inner();
  return function* (shared) {
    if (!reads) {
      yield* shared.srcu.synchronize();
      return;
    }
    const index = yield* shared.srcu.readLock();
    yield* inside(shared);
    yield* shared.srcu.readUnlock(index);
  };
};

const OWNED = resourceKind("randomProgramThing");
registerReleaser(OWNED, function* (memory, at) {
  const mutex = new Mutex(memory, at, lockClass("released"));
  yield* mutex.lock();
  yield* new Cell(memory, at + 1, "released").fetchAdd(1);
  yield* mutex.unlock();
});

/**
 * Owns something for a while, which a reaper gives back if the owner dies; or looks at how many
 * were given back.
 */
const owning: Maker = (random, inner) => {
  const looks = random.below(3) === 0;
  const inside = inner();
  return function* (shared) {
    const { owned } = shared;
    const { memory, at } = owned;
    if (looks) {
      yield* owned.load();
      return;
    }
    const slot = addResource(memory, OWNED, at - 1);
    yield* inside(shared);
    removeResource(memory, slot);
  };
};

/**
 * Of two references: more may be given back than there are, which is an error that ends the task.
 */
const counting: Maker = (random) => {
  const kind = random.below(4);
  return function* ({ count, cells }) {
    if (kind === 0) yield* count.get();
    else if (kind === 1) {
      if (yield* count.getNotZero()) yield* count.put();
    } else if (yield* count.put()) yield* cells[0]!.store(2);
  };
};

const makers: readonly Maker[] = [
  access,
  access,
  locking,
  locking,
  sharing,
  sharing,
  waiting,
  completing,
  conditional,
  grace,
  owning,
  counting,
];

function drawAction(random: RandomNumbers, depth: number, allowed: readonly Maker[]): Action {
  const maker = depth > 1 ? access : allowed[random.below(allowed.length)]!;
  return maker(random, () => drawAction(random, depth + 1, allowed));
}

/** The program of a seed: 2 to 4 tasks of 1 to 3 actions, over two of the things that block. */
export function randomProgram(seed: number): Scenario<unknown> {
  const random = new RandomNumbers(seed);
  const tasks = 2 + random.below(3);
  const allowed = [
    access,
    makers[random.below(makers.length)]!,
    makers[random.below(makers.length)]!,
  ];
  const bodies = Array.from({ length: tasks }, () => {
    const actions = Array.from({ length: 1 + random.below(tasks === 2 ? 3 : 2) }, () =>
      drawAction(random, 0, allowed),
    );
    return function* (shared: Shared): Task<void> {
      for (const action of actions) yield* action(shared);
    };
  });
  return program(`seed ${seed}`, start, bodies);
}
