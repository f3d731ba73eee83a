/**
 * @module Programs that free what another task may be using: broken, and sound by a lock or an
 * exchange.
 */

import { Objects } from "../../../src/checker/primitives/objects.ts";
import { Cell } from "../../../src/checker/primitives/program.ts";
import type { Places } from "../../../src/checker/primitives/program.ts";
import type { Scenario } from "../../../src/checker/scenario.ts";
import type { Mutex } from "../../../src/sync/primitives/mutex.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { program } from "./program-of.ts";
import type { Body } from "./program-of.ts";

const ARENA_WORDS = 16;

interface Owned {
  readonly objects: Objects;
  readonly pointer: Cell;
  readonly mutex: Mutex;
}

function owned(places: Places): Owned {
  const pointer = places.cell("pointer");
  const objects = new Objects(pointer.memory, places.take(4 * ARENA_WORDS), ARENA_WORDS);
  return { objects, pointer, mutex: places.mutex("owner") };
}

/** One task publishes an object and frees it again; another uses it if it is there. */
export function usedAfterFree(underLock: boolean): Scenario<unknown> {
  const section = function* (mutex: Mutex, inside: Task<void>): Task<void> {
    if (underLock) yield* mutex.lock();
    yield* inside;
    if (underLock) yield* mutex.unlock();
  };
  const owner: Body<Owned> = function* ({ objects, pointer, mutex }) {
    const at = yield* objects.alloc(2, "object");
    yield* pointer.store(at);
    const takeBack = function* (): Task<void> {
      yield* pointer.store(0);
      yield* objects.free(at, 2, "object");
    };
    yield* section(mutex, takeBack());
  };
  const user: Body<Owned> = function* ({ pointer, mutex }) {
    const use = function* (): Task<void> {
      const at = yield* pointer.load();
      if (at !== 0) yield* new Cell(pointer.memory, at + 1, "object.field").load();
    };
    yield* section(mutex, use());
  };
  return program(underLock ? "locked use" : "used after free", owned, [owner, user]);
}

/** Two tasks give back what both found. */
export function freedTwice(byExchange: boolean): Scenario<unknown> {
  const start = (places: Places): Owned => {
    const shared = owned(places);
    shared.pointer.init(places.take(2));
    return shared;
  };
  const body: Body<Owned> = function* ({ objects, pointer }) {
    const at = yield* pointer.load();
    if (at === 0) return;
    if (byExchange) {
      if (!(yield* pointer.compareExchange(at, 0))) return;
    } else yield* pointer.store(0);
    yield* objects.free(at, 2, "object");
  };
  return program(byExchange ? "freed once" : "double free", start, [body, body]);
}
