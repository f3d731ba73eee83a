/**
 * @module Programs of steps that commute where nobody can tell: each alone, three times, and drawn
 * from a seed among steps that can tell.
 */

import { RandomNumbers } from "../../src/checker/engines/random-numbers.ts";
import type { Cell } from "../../src/checker/primitives/program.ts";
import { Places } from "../../src/checker/primitives/program.ts";
import type { Scenario } from "../../src/checker/scenario.ts";
import { Completion } from "../../src/sync/primitives/completion.ts";
import type { Mutex } from "../../src/sync/primitives/mutex.ts";
import { RefCount } from "../../src/sync/primitives/refcount.ts";
import { RwSem } from "../../src/sync/primitives/rwsem.ts";
import type { SharedMemory } from "../../src/sync/shared-memory.ts";
import { Srcu } from "../../src/sync/primitives/srcu.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../src/sync/primitives/wait-queue.ts";
import type { Recorded } from "./brute-force.ts";

export interface Things {
  readonly cell: Cell;
  readonly flag: Cell;
  readonly srcu: Srcu;
  readonly count: RefCount;
  readonly completion: Completion;
  readonly queue: WaitQueue;
  readonly rwsem: RwSem;
  readonly mutex: Mutex;
}

/** What it is told, if anything. */
export type Act = (things: Things) => Task<unknown>;

function makeThings(memory: SharedMemory, references: number): Things {
  const places = new Places(memory);
  const count = new RefCount(memory, places.take(RefCount.WORDS));
  count.init(references);
  return {
    cell: places.cell("cell"),
    flag: places.cell("flag"),
    srcu: new Srcu(memory, places.take(Srcu.WORDS)),
    count,
    completion: new Completion(memory, places.take(Completion.WORDS)),
    queue: new WaitQueue(memory, places.take(WaitQueue.WORDS)),
    rwsem: new RwSem(memory, places.take(RwSem.WORDS)),
    mutex: places.mutex("mutex"),
  };
}

/** Tasks that do these one after the other, with so many references to begin with. */
export function recorded(
  name: string,
  tasks: readonly (readonly Act[])[],
  references: number = 1,
): Recorded {
  const logs: unknown[][] = tasks.map(() => []);
  let things: Things | undefined;
  const bodies = tasks.map((acts, task) => {
    const body = function* (shared: Things): Task<void> {
      for (const act of acts) logs[task]?.push((yield* act(shared)) ?? 0);
    };
    return [`t${task}`, body] as const;
  });
  const scenario: Scenario<Things> = {
    name,
    words: 64,
    setup: (memory) => (things = makeThings(memory, references)),
    reopen(memory) {
      for (const log of logs) log.length = 0;
      return things ?? makeThings(memory, references);
    },
    tasks: Object.fromEntries(bodies),
  };
  return { scenario: scenario as Scenario<unknown>, told: () => logs };
}

/** So many tasks of one function, and others. */
export function recordedEqual(
  name: string,
  equal: number,
  acts: readonly Act[],
  others: readonly (readonly Act[])[],
  references: number = 1,
): Recorded {
  const tasks = [...Array.from({ length: equal }, () => acts), ...others];
  const program = recorded(name, tasks, references);
  const { scenario } = program;
  const body = function* (shared: unknown): Task<void> {
    const things = shared as Things; // recorded's own
    const log = program.told()[things.cell.memory.agentId - 1]!;
    for (const act of acts) log.push((yield* act(things)) ?? 0);
  };
  const names = Object.keys(scenario.tasks).slice(0, equal);
  const same = Object.fromEntries(names.map((task) => [task, body]));
  return {
    scenario: { ...scenario, tasks: { ...scenario.tasks, ...same }, symmetricTasks: [names] },
    told: () => program.told(),
  };
}

export const section: Act = function* ({ srcu }) {
  const index = yield* srcu.readLock();
  yield* srcu.readUnlock(index);
};
export const getAndPut: Act = function* ({ count }) {
  yield* count.get();
  return yield* count.put();
};
export const wakeAll: Act = ({ queue }) => queue.wakeAll();
export const wakeOne: Act = ({ queue }) => queue.wakeOne();
export const complete: Act = ({ completion }) => completion.complete();
export const add: Act = ({ cell }) => cell.add(1);
export const load: Act = ({ cell }) => cell.load();
export const share: Act = function* ({ rwsem }) {
  yield* rwsem.downRead();
  yield* rwsem.upRead();
};
export const tryShare: Act = function* ({ rwsem }) {
  const isIn = yield* rwsem.tryDownRead();
  if (isIn) yield* rwsem.upRead();
  return isIn;
};
/** Without a step of its own, and so told what others did to the count. */
export const putAndLook: Act = function* ({ count }) {
  yield* count.put();
  return count.read();
};
export const addAndLook: Act = function* ({ cell }) {
  yield* cell.add(1);
  return cell.peek();
};
export const completeAndLook: Act = function* ({ completion }) {
  yield* completion.complete();
  return completion.isDone();
};

/** Those that commute with their like, several times over so that they are drawn often. */
const commuting: readonly Act[] = [
  section,
  getAndPut,
  wakeAll,
  wakeOne,
  complete,
  add,
  load,
  share,
  tryShare,
];

/** Those that can tell. */
const telling: readonly Act[] = [
  ({ count }): Task<unknown> => count.get(),
  ({ count }): Task<unknown> => count.put(),
  ({ count }): Task<unknown> => count.getNotZero(),
  putAndLook,
  addAndLook,
  completeAndLook,
  ({ cell }): Task<unknown> => cell.fetchAdd(2),
  ({ cell }): Task<unknown> => cell.compareExchange(1, 5),
  ({ cell }): Task<unknown> => cell.store(3),
  ({ flag }): Task<unknown> => flag.store(1),
  ({ srcu }): Task<unknown> => srcu.synchronize(),
  ({ completion }): Task<unknown> => completion.wait(),
  ({ completion }): Task<unknown> => completion.wait(5),
  ({ completion }): Task<unknown> => completion.completeAll(),
  ({ queue, flag }): Task<unknown> => queue.waitEvent(() => flag.peek() !== 0),
  ({ queue, flag }): Task<unknown> => queue.waitEvent(() => flag.peek() !== 0, 5),
  function* ({ rwsem, cell }) {
    yield* rwsem.downWrite();
    const seen = yield* cell.fetchAdd(1);
    yield* rwsem.upWrite();
    return seen;
  },
  function* ({ srcu, flag }) {
    const index = yield* srcu.readLock();
    const seen = yield* flag.load();
    yield* srcu.readUnlock(index);
    return seen;
  },
  function* ({ mutex, cell }) {
    yield* mutex.lock();
    const seen = yield* cell.fetchAdd(1);
    yield* mutex.unlock();
    return seen;
  },
];

/** Equal tasks, and perhaps another one, drawn from a seed. */
export function equalProgram(seed: number): Recorded {
  const random = new RandomNumbers(seed);
  const equal = 2 + random.below(2);
  const draw = (most: number): Act[] => {
    const acts = random.below(3) === 0 ? commuting : telling;
    return Array.from({ length: 1 + random.below(most) }, () => acts[random.below(acts.length)]!);
  };
  const shared = draw(equal === 2 ? 2 : 1);
  const others = random.below(2) === 0 ? [] : [draw(2)];
  return recordedEqual(`equal, seed ${seed}`, equal, shared, others, 1 + random.below(3));
}

/** The program of a seed. */
export function commutingProgram(seed: number): Recorded {
  const random = new RandomNumbers(seed);
  const tasks = 2 + random.below(2);
  const likes = [commuting, commuting, telling].map((acts) => acts[random.below(acts.length)]!);
  const draw = (): Act => {
    if (random.below(4) === 0) return telling[random.below(telling.length)]!;
    return likes[random.below(likes.length)]!;
  };
  const bodies = Array.from({ length: tasks }, () =>
    Array.from({ length: 1 + random.below(tasks === 2 ? 4 : 2) }, draw),
  );
  return recorded(`seed ${seed}`, bodies, 1 + random.below(3));
}
