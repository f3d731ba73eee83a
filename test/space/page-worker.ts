/**
 * @module A thread that may not block, as a browser page's main thread: a Worker whose
 * `Atomics.wait` is removed before anything is loaded. It tries every form and reports the results.
 */

import { parentPort } from "node:worker_threads";
import type { AddressSpace } from "../../src/index.ts";
import { inside } from "../inside.ts";

Atomics.wait = (): never => {
  throw new TypeError("Atomics.wait cannot be called in this context");
};
const { AddressSpace: Space, HmmError } = await import("../../src/index.ts");
const { runAsync } = await import("../../src/sync/runners/run-async.ts");
const { park } = await import("../../src/sync/tasks/task.ts");

/** The code of what `body` throws; "works" if it does not. */
async function outcomeOf(body: () => unknown): Promise<string> {
  try {
    await body();
    return "works";
  } catch (error) {
    return error instanceof HmmError ? error.code : String(error);
  }
}

/** Holds the mmap lock in a task of its own while `isHeld`. */
function holdLock(space: AddressSpace, lock: { isHeld: boolean }): Promise<void> {
  const {
    machine: { memory },
    mm,
  } = inside(space);
  function* hold(): Generator<ReturnType<typeof park>, void, 0 | 1> {
    yield* mm.mmapLock.downWrite();
    while (lock.isHeld) yield park(memory, 0, memory.words[0]!, 1, "the test");
    yield* mm.mmapLock.upWrite();
  }
  return runAsync(memory, hold(), "holder");
}

async function tryEverything(): Promise<Record<string, unknown>> {
  const PAGE = 4096;
  const outcomes: Record<string, unknown> = {};
  outcomes["createSync"] = await outcomeOf(() => Space.createSync());
  const space = await Space.create({ ramBytes: 2 ** 20, debug: true });
  outcomes["attachSync"] = await outcomeOf(() => Space.attachSync(space.handle));
  const second = await Space.attach(space.handle);
  const p = await space.mmap(4 * PAGE);
  outcomes["mmapSync"] = await outcomeOf(() => space.mmapSync(PAGE));
  outcomes["munmapSync"] = await outcomeOf(() => space.munmapSync(p, PAGE));
  outcomes["forkSync"] = await outcomeOf(() => space.forkSync());
  outcomes["readSync"] = await outcomeOf(() => space.readSync(p, new Uint8Array(1)));
  outcomes["viewSync"] = await outcomeOf(() => space.viewSync(p, PAGE, "read"));
  outcomes["statsSync"] = await outcomeOf(() => space.statsSync());
  outcomes["disposeSync"] = await outcomeOf(() => space.disposeSync());
  space.u32.store(p, 41);
  {
    using view = await space.view(p, PAGE, "write");
    view.as(Uint32Array)[1] = 42;
    outcomes["view.disposeSync"] = await outcomeOf(() => view.disposeSync());
  }
  outcomes["loads"] = [space.u32.load(p), second.u32.load(p + 4)];
  await using child = await space.fork();
  await child.write(p, Uint8Array.of(7));
  outcomes["after fork"] = [space.u8.load(p), child.u8.load(p)];

  const lock = { isHeld: true };
  const held = holdLock(space, lock);
  // The holder is a task of this very thread, and goes on between looks; it does not let go, so the
  // store gives up after a moment.
  outcomes["store while the lock is held"] = await outcomeOf(() =>
    space.u32.store(p + 3 * PAGE, 1),
  );
  const pending = space.mmap(PAGE);
  lock.isHeld = false;
  await held;
  await pending;
  outcomes["store afterwards"] = await outcomeOf(() => space.u32.store(p + 3 * PAGE, 1));

  await second.dispose();
  {
    using last = await Space.attach(space.handle);
    outcomes["users"] = (await last.stats()).users;
  }
  // `last` goes in the background
  while ((await space.stats()).users > 1) await new Promise(setImmediate);
  await space.dispose();
  return outcomes;
}

parentPort?.postMessage(await tryEverything());
