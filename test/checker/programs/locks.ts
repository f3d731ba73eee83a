/** @module The programs of the counts that use mutexes. */

import type { Cell, Gate, Places } from "../../../src/checker/primitives/program.ts";
import type { Scenario } from "../../../src/checker/scenario.ts";
import type { Mutex } from "../../../src/sync/primitives/mutex.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { program } from "./program-of.ts";
import type { Body } from "./program-of.ts";

type Program = Scenario<unknown>;

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

/**
 * lockinc and lock2inc: x++ under a lock, with the load and the store as steps of their own or not.
 */
export function lockinc(n: number, stepsInside: boolean): Program {
  const start = (places: Places): { m: Mutex; x: Cell } => ({
    m: places.mutex("m"),
    x: places.cell("x"),
  });
  const body: Body<{ m: Mutex; x: Cell }> = function* ({ m, x }) {
    yield* m.lock();
    if (stepsInside) yield* x.store((yield* x.load()) + 1);
    else x.init(x.peek() + 1);
    yield* m.unlock();
  };
  return program(
    `lockinc(${n})`,
    start,
    times(n, () => body),
  );
}

const SLOTS = 128;
interface Table {
  readonly slots: readonly Cell[];
  readonly locks: readonly Mutex[];
}

function* casUnderLock({ slots, locks }: Table, h: number, w: number): Task<boolean> {
  yield* locks[h]!.lock();
  const isFree = (yield* slots[h]!.load()) === 0;
  if (isFree) yield* slots[h]!.store(w);
  yield* locks[h]!.unlock();
  return isFree;
}

export function indexer(n: number): Program {
  const start = (places: Places): Table => ({
    slots: places.cells("t", SLOTS),
    locks: places.mutexes("l", SLOTS),
  });
  const body = (tid: number): Body<Table> =>
    function* (table) {
      for (let m = 1; m <= 4; m++) {
        const w = m * 11 + tid;
        for (let h = (w * 7) % SLOTS; !(yield* casUnderLock(table, h, w));) h = (h + 1) % SLOTS;
      }
    };
  return program(`indexer(${n})`, start, times(n, body));
}

const BLOCKS = 26;
const INODES = 32;
interface Disk {
  readonly inodeLocks: readonly Mutex[];
  readonly inodes: readonly Cell[];
  readonly blockLocks: readonly Mutex[];
  readonly busy: readonly Cell[];
}

function* allocateBlock(disk: Disk, i: number): Task<void> {
  for (let b = (i * 2) % BLOCKS, tries = 0; tries < 10; tries++, b = (b + 1) % BLOCKS) {
    yield* disk.blockLocks[b]!.lock();
    const isFree = (yield* disk.busy[b]!.load()) === 0;
    if (isFree) {
      yield* disk.busy[b]!.store(1);
      yield* disk.inodes[i]!.store(b + 1);
    }
    yield* disk.blockLocks[b]!.unlock();
    if (isFree) return;
  }
}

export function filesystem(n: number): Program {
  const start = (places: Places): Disk => ({
    inodeLocks: places.mutexes("il", INODES),
    inodes: places.cells("i", INODES),
    blockLocks: places.mutexes("bl", BLOCKS),
    busy: places.cells("b", BLOCKS),
  });
  const body = (tid: number): Body<Disk> =>
    function* (disk) {
      const i = tid % INODES;
      yield* disk.inodeLocks[i]!.lock();
      if ((yield* disk.inodes[i]!.load()) === 0) yield* allocateBlock(disk, i);
      yield* disk.inodeLocks[i]!.unlock();
    };
  return program(`filesystem(${n})`, start, times(n, body));
}

/** Each task takes two of the locks, and gives them back. */
function pairs(
  name: string,
  locks: number,
  orders: readonly (readonly [number, number])[],
): Program {
  const body = ([first, second]: readonly [number, number]): Body<Mutex[]> =>
    function* (m) {
      yield* m[first]!.lock();
      yield* m[second]!.lock();
      yield* m[second]!.unlock();
      yield* m[first]!.unlock();
    };
  return program(name, (places) => places.mutexes("m", locks), orders.map(body));
}

export function abba(): Program {
  return pairs("AB-BA", 2, [
    [0, 1],
    [1, 0],
  ]);
}

export function philosophers(n: number, ordered: boolean): Program {
  const orders = times(n, (i): [number, number] => {
    const right = (i + 1) % n;
    return ordered && right < i ? [right, i] : [i, right];
  });
  return pairs(`philosophers(${n}${ordered ? ", ordered" : ""})`, n, orders);
}

export function mutexOrder(n: number): Program {
  return lockinc(n, true);
}

/** Who takes the mutex never gives it back; or only the task whose turn it was. */
export function mutexKept(n: number, hard: boolean): Program {
  const start = (places: Places): { m: Mutex; x: Cell } => ({
    m: places.mutex("m"),
    x: places.cell("x"),
  });
  const body = (tid: number): Body<{ m: Mutex; x: Cell }> =>
    function* ({ m, x }) {
      yield* m.lock();
      const turn = yield* x.fetchAdd(1);
      if (hard && turn === tid) yield* m.unlock();
    };
  return program(hard ? `mutex_hard(${n})` : `mutex_deadlock(${n})`, start, times(n, body));
}

export function tryLocks(trying: number, locking: number, unlocks: boolean): Program {
  const tries: Body<Mutex> = function* (m) {
    if ((yield* m.tryLock()) && unlocks) yield* m.unlock();
  };
  const locks: Body<Mutex> = function* (m) {
    yield* m.lock();
    if (unlocks) yield* m.unlock();
  };
  const bodies = [...times(locking, () => locks), ...times(trying, () => tries)];
  return program(
    `trylock(${trying}+${locking}${unlocks ? ", unlock" : ""})`,
    (places) => places.mutex("m"),
    bodies,
  );
}

interface Ssb {
  readonly ma: readonly Mutex[];
  readonly mi: Mutex;
  readonly i: Cell;
}

export function ssbexp(k: number): Program {
  const start = (places: Places): Ssb => ({
    ma: places.mutexes("ma", k),
    mi: places.mutex("mi"),
    i: places.cell("i"),
  });
  const main: Body<Ssb> = function* ({ ma, mi, i }) {
    yield* mi.lock();
    const index = yield* i.load();
    yield* mi.unlock();
    yield* ma[index]!.lock();
    yield* ma[index]!.unlock();
  };
  const worker = (x: number): Body<Ssb> =>
    function* ({ ma }) {
      yield* ma[x]!.lock();
      yield* ma[x]!.unlock();
    };
  const counter: Body<Ssb> = function* ({ mi, i }) {
    for (let x = 1; x < k; x++) {
      yield* mi.lock();
      yield* i.store(x);
      yield* mi.unlock();
    }
  };
  return program(`ssbexp(${k})`, start, [main, ...times(k, worker), counter]);
}

interface Dispatch {
  readonly servers: readonly Mutex[];
  readonly input: readonly Cell[];
  readonly output: readonly Cell[];
  readonly k: Mutex;
  readonly sid: Cell;
  readonly start: readonly Gate[];
  readonly finish: readonly Gate[];
}

/**
 * Main sends requests to servers that pickers choose; one picker for each request, joined before
 * the next.
 */
export function dispatcher(servers: number, requests: number): Program {
  const start = (places: Places): Dispatch => ({
    servers: places.mutexes("s", servers),
    input: places.cells("in", servers),
    output: places.cells("out", servers),
    k: places.mutex("k"),
    sid: places.cell("sid"),
    start: times(requests, (i) => places.gate(`start${i}`)),
    finish: times(requests, (i) => places.gate(`finish${i}`)),
  });
  const server = (id: number): Body<Dispatch> =>
    function* (d) {
      yield* d.servers[id]!.lock();
      const waiting = yield* d.input[id]!.load();
      if (waiting > 0) yield* d.output[id]!.store(waiting);
      yield* d.servers[id]!.unlock();
    };
  const picker = (request: number): Body<Dispatch> =>
    function* (d) {
      yield* d.start[request]!.pass();
      for (let x = 0; x < servers; x++) {
        yield* d.k.lock();
        yield* d.sid.store(x);
        yield* d.k.unlock();
      }
      yield* d.finish[request]!.open();
    };
  const main: Body<Dispatch> = function* (d) {
    for (let request = 0; request < requests; request++) {
      yield* d.start[request]!.open();
      yield* d.k.lock();
      const chosen = yield* d.sid.load();
      yield* d.k.unlock();
      yield* d.servers[chosen]!.lock();
      yield* d.input[chosen]!.store((yield* d.input[chosen]!.load()) + 1);
      yield* d.servers[chosen]!.unlock();
      yield* d.finish[request]!.pass();
    }
  };
  return program(`dispatcher(${servers},${requests})`, start, [
    ...times(servers, server),
    ...times(requests, picker),
    main,
  ]);
}

export function mpat(k: number): Program {
  interface Locks {
    readonly ma: readonly Mutex[];
    readonly mi: Mutex;
  }
  const writer = (i: number): Body<Locks> =>
    function* ({ ma }) {
      yield* ma[i]!.lock();
      yield* ma[i]!.unlock();
    };
  const reader = (i: number): Body<Locks> =>
    function* ({ ma, mi }) {
      yield* mi.lock();
      yield* ma[i]!.lock();
      yield* ma[i]!.unlock();
      yield* mi.unlock();
    };
  const bodies = times(k, (i) => [writer(i), reader(i)]).flat();
  return program(
    `mpat(${k})`,
    (places) => ({ ma: places.mutexes("ma", k), mi: places.mutex("mi") }),
    bodies,
  );
}
