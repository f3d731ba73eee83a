/**
 * @module Real threads: drivers that serve faults while others change the mappings, and threads
 * that die in the middle of it.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { hmmRangeFaultUnlockedTimeout } from "../../src/hmm/fault.ts";
import { hmmMirrorForget, hmmMirrorRegister, hmmMirrorUnregister } from "../../src/hmm/mirror.ts";
import { hmmRangeRegister, hmmRangeUnregister } from "../../src/hmm/range.ts";
import { hmmStatistics } from "../../src/hmm/statistics.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/valid.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/madvise.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { agentDied } from "../../src/sync/agents.ts";
import { ENODEV } from "../../src/sync/errno.ts";
import { HmmError } from "../../src/sync/errors.ts";
import { hasPanicked } from "../../src/sync/panic.ts";
import { runAsync } from "../../src/sync/run-async.ts";
import { DONE } from "../../src/sync/task.ts";
import { Rig, withMmapWrite, isValidNow } from "./rig.ts";
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
  readonly rig: Rig;
  readonly device: SharedDevice;
}

function setUp(debug: boolean): SetUp {
  const rig = new Rig({ ramBytes: 2 ** 22, heapBytes: 2 ** 23, debug });
  rig.map(FIRST_PAGE, TABLE_PAGES);
  const device = rig.run(makeSharedDevice(rig.machine));
  rig.must(withMmapWrite(rig.mm, () => hmmMirrorRegister(mirrorOf(rig.machine, device), rig.mm)));
  return { rig, device };
}

function close({ rig, device }: SetUp): void {
  assert.equal(faultOfTable(rig.machine, rig.mm, device), undefined);
  rig.run(hmmMirrorUnregister(mirrorOf(rig.machine, device)));
  rig.run(rig.machine.heap.free(SharedDevice, device.at));
  rig.leave();
}

/** Terminates a thread and tells the machine, as its host would. */
async function kill(rig: Rig, thread: HmmThread): Promise<void> {
  const { threadId } = thread.worker;
  await thread.worker.terminate();
  agentDied(rig.machine.memory, threadId);
}

for (const debug of [true, false]) {
  test(`two devices' threads and two that change mappings: no entry of a device's table is ever stale (debug ${debug})`, async () => {
    const { rig, device } = setUp(debug);
    const rounds = debug ? 150 : 600;
    const threads = [
      startThread(rig, "device", { driver: device.at, seed: 1, rounds }),
      startThread(rig, "device", { driver: device.at, seed: 2, rounds }),
      startThread(rig, "changer", { seed: 3, rounds }),
      startThread(rig, "changer", { seed: 4, rounds }),
    ];
    const [first] = await Promise.all(threads.map(({ result }) => result));
    const { programmed } = first as { programmed: number };
    assert.ok(programmed > rounds / 10, `${programmed} of ${rounds} rounds got through`);
    const statistics = rig.run(hmmStatistics(rig.machine, rig.mm));
    assert.deepEqual(
      [statistics?.notifiers, statistics?.ranges, statistics?.mirrorErrors],
      [0, 0, 0],
    );
    close({ rig, device });
  });
}

test("the same threads with the boolean of 2019: a stale entry is found", async () => {
  const { rig, device } = setUp(false);
  const options = { driver: device.at, rounds: 20_000 };
  const threads = [
    startThread(rig, "flawedDevice", { ...options, seed: 1 }),
    startThread(rig, "flawedDevice", { ...options, seed: 2 }),
    startThread(rig, "changer", { ...options, seed: 3 }),
    startThread(rig, "changer", { ...options, seed: 4 }),
  ];
  const first = await Promise.race(threads.map(({ result }) => result.then(() => "", String)));
  assert.match(first, /the device reaches frame/);
  await Promise.all(threads.map(({ worker }) => worker.terminate()));
});

test("a thread that dies with a registered range: a reaper unregisters it, and the address space can die", async () => {
  const { rig, device } = setUp(true);
  const users = rig.mm.users.read();
  const holder = startThread(rig, "holdRange", { driver: device.at });
  assert.equal(await holder.said, "holding");
  assert.equal(rig.mm.users.read(), users + 1);
  await kill(rig, holder);
  rig.run(DONE); // whoever runs next reaps
  assert.equal(rig.mm.users.read(), users);
  assert.equal(rig.run(hmmStatistics(rig.machine, rig.mm))?.ranges, 0);
  close({ rig, device });
});

test("a thread that dies with a registered mirror: it is unregistered, its driver told, and other threads' ranges on it end in ENODEV", async () => {
  const { rig, device } = setUp(true);
  const holder = startThread(rig, "holdMirror");
  const orphan = SharedDevice.at(rig.machine.memory, Number(await holder.said));
  const range = rig.range({ pages: 4 });
  const start = FIRST_PAGE * PAGE_BYTES;
  rig.must(hmmRangeRegister(range, mirrorOf(rig.machine, orphan), start, start + 4 * PAGE_BYTES));
  await kill(rig, holder);
  rig.run(DONE);
  assert.equal(orphan.orphaned, 1);
  assert.equal(isValidNow(range), false);
  assert.equal(
    rig.run(hmmRangeWaitUntilValid(range, 60_000)),
    false,
    "at once, not when the time is up",
  );
  assert.equal(rig.run(hmmRangeFaultUnlockedTimeout(range, 0)), ENODEV, "nor for ever");
  const heard = orphan.sweeps;
  rig.must(doMadvise(rig.machine, rig.mm, start, PAGE_BYTES, MADV_DONTNEED));
  assert.deepEqual([orphan.sweeps, device.sweeps], [heard, 1], "the orphan hears nothing any more");
  rig.run(hmmRangeUnregister(range));
  assert.equal(
    rig.run(hmmRangeRegister(range, mirrorOf(rig.machine, orphan), start, start + PAGE_BYTES)),
    ENODEV,
    "no other range either",
  );
  rig.freeRange(range);
  rig.run(hmmMirrorForget(mirrorOf(rig.machine, orphan)));
  rig.run(rig.machine.heap.free(SharedDevice, orphan.at));
  close({ rig, device });
});

test("threads killed at random moments: the machine stops and says why, or goes on and owes at most what was in hand", async () => {
  let panics = 0;
  let set = setUp(false);
  let killed = 0;
  for (let i = 0; i < 24; i++) {
    const { rig, device } = set;
    const thread = startThread(rig, "churn", { driver: device.at, seed: i });
    thread.result.catch(() => {});
    assert.equal(await thread.said, "churning");
    for (let turn = 0; turn < i % 7; turn++) await new Promise(setImmediate);
    await kill(rig, thread);
    killed++;
    try {
      await runAsync(rig.machine.memory, DONE);
      rig.run(DONE);
      rig.must(doMadvise(rig.machine, rig.mm, FIRST_PAGE * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED));
    } catch (error) {
      assert.ok(hasPanicked(rig.machine.memory), String(error));
      assert.ok(error instanceof HmmError && error.code === "EOWNERDEAD", String(error));
      assert.match(error.message, /thread "churn" was terminated while it held/);
      panics++;
      set = setUp(false);
      killed = 0;
      continue;
    }
    const statistics = rig.run(hmmStatistics(rig.machine, rig.mm));
    assert.deepEqual([statistics?.notifiers, statistics?.ranges], [0, 0]);
    assert.ok(
      rig.mm.users.read() <= 1 + killed,
      `${rig.mm.users.read()} users after ${killed} deaths`,
    );
  }
  assert.ok(panics < 24, "some threads die between two critical sections");
});
