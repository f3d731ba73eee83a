/**
 * @module Real threads: drivers that serve faults while others change the mappings, and threads
 * that die in the middle of it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { hmmRangeFaultUnlockedTimeout } from "../../src/hmm/walk/fault.ts";
import {
  hmmMirrorForget,
  hmmMirrorRegister,
  hmmMirrorUnregister,
} from "../../src/hmm/mirror/mirror.ts";
import { hmmRangeRegister, hmmRangeUnregister } from "../../src/hmm/range/range.ts";
import { hmmStatistics } from "../../src/hmm/mirror/statistics.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/range/valid.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { agentDied } from "../../src/sync/runners/agents.ts";
import { ENODEV } from "../../src/sync/errno.ts";
import { HmmError } from "../../src/sync/errors.ts";
import { hasPanicked } from "../../src/sync/death/panic.ts";
import { runAsync } from "../../src/sync/runners/run-async.ts";
import { DONE } from "../../src/sync/tasks/task.ts";
import { Harness, withMmapWrite, isValidNow } from "./harness.ts";
import {
  FIRST_PAGE,
  SharedDevice,
  TABLE_PAGES,
  faultOfTable,
  makeSharedDevice,
  mirrorOf,
} from "./shared-device.ts";
import { type HmmThread, startThread } from "./threads.ts";

interface SetUp {
  readonly harness: Harness;
  readonly device: SharedDevice;
}

function setUp(debug: boolean): SetUp {
  const harness = new Harness({ ramBytes: 2 ** 22, heapBytes: 2 ** 23, debug });
  harness.map(FIRST_PAGE, TABLE_PAGES);
  const device = harness.run(makeSharedDevice(harness.machine));
  harness.must(
    withMmapWrite(harness.mm, () =>
      hmmMirrorRegister(mirrorOf(harness.machine, device), harness.mm),
    ),
  );
  return { harness, device };
}

function close({ harness, device }: SetUp): void {
  assert.equal(faultOfTable(harness.machine, harness.mm, device), undefined);
  harness.run(hmmMirrorUnregister(mirrorOf(harness.machine, device)));
  harness.run(harness.machine.heap.free(SharedDevice, device.at));
  harness.leave();
}

/** Terminates a thread and tells the machine, as its host would. */
async function kill(harness: Harness, thread: HmmThread): Promise<void> {
  const { threadId } = thread.worker;
  await thread.worker.terminate();
  agentDied(harness.machine.memory, threadId);
}

for (const debug of [true, false]) {
  test(`two devices' threads and two that change mappings: no entry of a device's table is ever stale (debug ${debug})`, async () => {
    const { harness, device } = setUp(debug);
    const rounds = debug ? 150 : 600;
    const threads = [
      startThread(harness, "device", { driver: device.at, seed: 1, rounds }),
      startThread(harness, "device", { driver: device.at, seed: 2, rounds }),
      startThread(harness, "changer", { seed: 3, rounds }),
      startThread(harness, "changer", { seed: 4, rounds }),
    ];
    const [first] = await Promise.all(threads.map(({ result }) => result));
    const { programmed } = first as { programmed: number };
    assert.ok(programmed > rounds / 10, `${programmed} of ${rounds} rounds got through`);
    const statistics = harness.run(hmmStatistics(harness.machine, harness.mm));
    assert.deepEqual(
      [statistics?.notifiers, statistics?.ranges, statistics?.mirrorErrors],
      [0, 0, 0],
    );
    close({ harness, device });
  });
}

test("the same threads with the boolean of 2019: a stale entry is found", async () => {
  const { harness, device } = setUp(false);
  // Some thousands show one; on a busy machine a thread may run far ahead of the others.
  const options = { driver: device.at, rounds: 500_000 };
  const threads = [
    startThread(harness, "flawedDevice", { ...options, seed: 1 }),
    startThread(harness, "flawedDevice", { ...options, seed: 2 }),
    startThread(harness, "changer", { ...options, seed: 3 }),
    startThread(harness, "changer", { ...options, seed: 4 }),
  ];
  const first = await Promise.race(threads.map(({ result }) => result.then(() => "", String)));
  assert.match(first, /the device reaches frame/);
  await Promise.all(threads.map(({ worker }) => worker.terminate()));
});

test("a thread that dies with a registered range: a reaper unregisters it, and the address space can die", async () => {
  const { harness, device } = setUp(true);
  const users = harness.mm.users.read();
  const holder = startThread(harness, "holdRange", { driver: device.at });
  assert.equal(await holder.said, "holding");
  assert.equal(harness.mm.users.read(), users + 1);
  await kill(harness, holder);
  harness.run(DONE); // the next thread that runs a task reaps
  assert.equal(harness.mm.users.read(), users);
  assert.equal(harness.run(hmmStatistics(harness.machine, harness.mm))?.ranges, 0);
  close({ harness, device });
});

test("a thread that dies with a registered mirror: it is unregistered, its driver is called, and other threads' ranges on it get ENODEV", async () => {
  const { harness, device } = setUp(true);
  const holder = startThread(harness, "holdMirror");
  const orphan = SharedDevice.at(harness.machine.memory, Number(await holder.said));
  const range = harness.range({ pages: 4 });
  const start = FIRST_PAGE * PAGE_BYTES;
  harness.must(
    hmmRangeRegister(range, mirrorOf(harness.machine, orphan), start, start + 4 * PAGE_BYTES),
  );
  await kill(harness, holder);
  harness.run(DONE);
  assert.equal(orphan.orphaned, 1);
  assert.equal(isValidNow(range), false);
  assert.equal(
    harness.run(hmmRangeWaitUntilValid(range, 60_000)),
    false,
    "at once, not when the time is up",
  );
  assert.equal(harness.run(hmmRangeFaultUnlockedTimeout(range, 0)), ENODEV, "nor for ever");
  const calls = orphan.sweeps;
  harness.must(doMadvise(harness.machine, harness.mm, start, PAGE_BYTES, MADV_DONTNEED));
  assert.deepEqual([orphan.sweeps, device.sweeps], [calls, 1], "the orphan is not called any more");
  harness.run(hmmRangeUnregister(range));
  assert.equal(
    harness.run(
      hmmRangeRegister(range, mirrorOf(harness.machine, orphan), start, start + PAGE_BYTES),
    ),
    ENODEV,
    "no other range either",
  );
  harness.freeRange(range);
  harness.run(hmmMirrorForget(mirrorOf(harness.machine, orphan)));
  harness.run(harness.machine.heap.free(SharedDevice, orphan.at));
  close({ harness, device });
});

test("threads killed at random moments: the machine stops and says why, or goes on and leaks at most what was being dropped", async () => {
  let panics = 0;
  let set = setUp(false);
  let killed = 0;
  for (let i = 0; i < 24; i++) {
    const { harness, device } = set;
    const thread = startThread(harness, "churn", { driver: device.at, seed: i });
    thread.result.catch(() => {});
    assert.equal(await thread.said, "churning");
    for (let turn = 0; turn < i % 7; turn++) await new Promise(setImmediate);
    await kill(harness, thread);
    killed++;
    try {
      await runAsync(harness.machine.memory, DONE);
      harness.run(DONE);
      harness.must(
        doMadvise(harness.machine, harness.mm, FIRST_PAGE * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED),
      );
    } catch (error) {
      assert.ok(hasPanicked(harness.machine.memory), String(error));
      assert.ok(error instanceof HmmError && error.code === "EOWNERDEAD", String(error));
      assert.match(error.message, /thread "churn" was terminated while it held/);
      panics++;
      set = setUp(false);
      killed = 0;
      continue;
    }
    const statistics = harness.run(hmmStatistics(harness.machine, harness.mm));
    assert.deepEqual([statistics?.notifiers, statistics?.ranges], [0, 0]);
    assert.ok(
      harness.mm.users.read() <= 1 + killed,
      `${harness.mm.users.read()} users after ${killed} deaths`,
    );
  }
  assert.ok(panics < 24, "some threads die between two critical sections");
});
