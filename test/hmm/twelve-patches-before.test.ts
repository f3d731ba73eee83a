/**
 * @module The broken twins of twelve-patches.test.ts: the code as it was before each patch, in the same interleavings.
 * Each must be seen to fail, or the other file proves nothing. Patches 2, 8 and 10 took away what made misuse go
 * unnoticed; their twins show the misuse.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { hmmGetOrCreate } from "../../src/hmm/get-or-create.ts";
import { Hmm } from "../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../src/hmm/hmm.ts";
import { HMM_NOTIFIER_OPS } from "../../src/hmm/invalidate.ts";
import { hmmMirrorRegister, hmmMirrorUnregister } from "../../src/hmm/mirror.ts";
import { hmmRangeUnregister } from "../../src/hmm/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/snapshot.ts";
import { hmmStatistics } from "../../src/hmm/statistics.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/madvise.ts";
import { mmdrop, mmput } from "../../src/mm/mm.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { zapNonBlocking } from "../../src/mm/zap.ts";
import { EAGAIN } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/task.ts";
import {
  countRangesWithoutLock,
  freeAtOnce,
  getOrCreateRacily,
  releaseUnlocked,
  startSwallowing,
  startWithoutUnwinding,
  unregisterGuarded,
  unregisterTakenOff,
  validAsOf2019,
  waitAndLookAgain,
  withCallbacks,
} from "./before.ts";
import { checkTable, service } from "./driver-loop.ts";
import { Interleaver, firstFailure } from "./interleaver.ts";
import { FakeDevice, Rig, withMmapRead, withMmapWrite } from "./rig.ts";

const SEEDS = 400;
const START = 16 * PAGE_BYTES;

type Scenario = (rig: Rig, device: FakeDevice, inter: Interleaver) => void;

/**
 * Runs the scenario until it fails as `how` says. It may fail otherwise on the way there: freed memory that is used
 * shows itself in many ways. A machine that has failed is left as it is.
 */
function mustFail(scenario: Scenario, how: RegExp): void {
  const seed = firstFailure(
    SEEDS,
    (one) => {
      const rig = new Rig({ ramBytes: 2 ** 20, heapBytes: 2 ** 21 });
      rig.map(16, 4);
      rig.touch(16, 4);
      scenario(rig, FakeDevice.registered(rig), new Interleaver(rig.machine.memory, one));
    },
    how,
  );
  assert.notEqual(seed, undefined, `${SEEDS} interleavings and no failure like ${String(how)}`);
}

function* discard(rig: Rig, pages = 2): Task<void> {
  assert.equal(yield* doMadvise(rig.machine, rig.mm, START, pages * PAGE_BYTES, MADV_DONTNEED), 0);
}

test("before patch 1: a call-back reads a hmm that has been freed", () => {
  mustFail((rig, device, inter) => {
    const hmm = Hmm.at(rig.machine.memory, device.mirror.record.hmm);
    inter.spawn("invalidates", discard(rig));
    inter.spawn("drops the last reference", freeAtOnce(rig.machine, rig.mm, hmm));
    inter.run();
    // In freed memory the count reads as alive and the lock as taken, for ever.
  }, /hmm at 0x.*it was freed|deadlock: invalidates: lock rangesLock/);
});

test("before patch 2: a range without a mirror: its pages change and no driver hears of it", () => {
  const rig = new Rig();
  rig.map(16, 4);
  rig.touch(16, 4);
  assert.throws(
    () => rig.run(hmmGetOrCreate(rig.machine, rig.mm)),
    /mmapLock/,
    "and creation without the lock that it needs",
  );
  const at = rig.run(withMmapWrite(rig.mm, () => hmmGetOrCreate(rig.machine, rig.mm)));
  const deaf = new FakeDevice(rig);
  deaf.table.set(16, 0x101);
  rig.run(discard(rig));
  assert.deepEqual([deaf.heard.length, deaf.table.size], [0, 1], "the device still reaches the page");
  rig.run(hmmPut(rig.machine, Hmm.at(rig.machine.memory, at)));
  deaf.close();
  rig.leave();
});

test("before patch 3: without a grab the hmm's end reads an address space that has been freed", () => {
  mustFail((rig, device, inter) => {
    rig.run(mmdrop(rig.machine, rig.mm)); // the grab that there was not
    inter.spawn("exits", rig.exit());
    inter.spawn("closes the file", hmmMirrorUnregister(device.mirror));
    inter.run();
  }, /mm at 0x.*it was freed/);
});

test("before patch 4: of two creators one is told that there is no memory", () => {
  mustFail((rig, device, inter) => {
    device.close();
    for (let i = 0; i < 2; i++) {
      inter.spawn(
        "creates",
        (function* (): Task<void> {
          assert.notEqual(yield* getOrCreateRacily(rig.machine, rig.mm), 0, "no memory, they say");
        })(),
      );
    }
    inter.run();
  }, /no memory, they say/);
});

test("before patch 5: a wait without a time limit comes back with false", () => {
  mustFail((rig, device, inter) => {
    const range = rig.registered(device, 16, 2);
    for (let i = 0; i < 2; i++) inter.spawn("invalidates", discard(rig));
    inter.spawn(
      "waits",
      (function* (): Task<void> {
        assert.equal(yield* waitAndLookAgain(range), true, "woken for nothing");
      })(),
    );
    inter.run();
  }, /woken for nothing/);
});

test("before patch 6: a reader of the list without its lock meets a range that has been freed", () => {
  mustFail((rig, device, inter) => {
    const range = rig.registered(device, 16, 2);
    const hmm = Hmm.at(rig.machine.memory, device.mirror.record.hmm);
    inter.spawn("reads the list", countRangesWithoutLock(hmm));
    inter.spawn(
      "unregisters and frees",
      (function* (): Task<void> {
        yield* hmmRangeUnregister(range);
        yield* rig.freeing(range);
      })(),
    );
    inter.run();
  }, /hmmRange at 0x.*(it was freed|no object starts there)/);
});

test("before patch 7: a range without an mm user: the address space dies under its walk", () => {
  mustFail((rig, device, inter) => {
    const range = rig.registered(device, 16, 4);
    rig.run(mmput(rig.machine, rig.mm)); // the user that there was not
    device.onRelease = function* () {
      assert.fail("release met a registered range");
    };
    inter.spawn("exits", rig.exit());
    inter.spawn(
      "snapshots",
      withMmapRead(rig.mm, () => hmmRangeSnapshot(range)),
    );
    inter.run();
  }, /release met a registered range/);
});

test("before patch 8: with a comment for an assertion nothing tells the one who registers without the lock", () => {
  const rig = new Rig();
  const racy = rig.run(getOrCreateRacily(rig.machine, rig.mm));
  assert.notEqual(racy, 0, "it goes through, and works until the day of the race (patch 4)");
  const device = new FakeDevice(rig);
  assert.throws(
    () => rig.run(hmmMirrorRegister(device.mirror, rig.mm)),
    /mmapLock/,
    "the assertion does not wait for that day",
  );
  device.close();
  rig.run(hmmPut(rig.machine, Hmm.at(rig.machine.memory, racy)));
  rig.leave();
});

test("before patch 9: two who unregister a mirror take it off the list twice", () => {
  mustFail((_rig, device, inter) => {
    for (let i = 0; i < 2; i++) inter.spawn("unregisters", unregisterGuarded(device.mirror));
    inter.run();
  }, /Cannot take node .* off a list: it is in none|refcount/i);
});

test("before patch 10: without poison a second unregister drops what is not its own", () => {
  mustFail((rig, device) => {
    const range = rig.registered(device, 16, 4);
    const { hmm, owns } = range.record;
    rig.run(hmmRangeUnregister(range));
    Object.assign(range.record, { hmm, owns }); // as they used to stay
    rig.run(hmmRangeUnregister(range));
  }, /Cannot take node .* off a list: it is in none/);
});

test("before patch 11: release is called on a mirror whose device has been closed", () => {
  withCallbacks({ release: releaseUnlocked }, () => {
    mustFail((rig, device, inter) => {
      inter.spawn("exits", rig.exit());
      inter.spawn(
        "closes the device",
        (function* (): Task<void> {
          yield* unregisterTakenOff(device.mirror);
          yield* device.freeing();
        })(),
      );
      inter.run();
    }, /whose device is closed|was freed/);
  });
});

test("before patch 12: a start that gave up leaves the count raised, and no range is valid ever again", () => {
  withCallbacks({ invalidateRangeStart: startWithoutUnwinding }, () => {
    mustFail((rig, _device, inter) => {
      const late = new FakeDevice(rig);
      inter.spawn(
        "reaps",
        withMmapRead(rig.mm, () => zapNonBlocking(rig.machine, rig.mm, 16, 18)),
      );
      inter.spawn(
        "comes and goes",
        (function* (): Task<void> {
          assert.equal(yield* withMmapWrite(rig.mm, () => hmmMirrorRegister(late.mirror, rig.mm)), 0);
          yield* hmmMirrorUnregister(late.mirror);
        })(),
      );
      inter.run();
      assert.equal(rig.run(hmmStatistics(rig.machine, rig.mm))?.notifiers, 0, "the count stays raised");
    }, /the count stays raised/);
  });
});

test("before patch 12: the driver said EAGAIN, the reaper frees the page all the same, and the device reaches it", () => {
  withCallbacks({ invalidateRangeStart: startSwallowing }, () => {
    mustFail((rig, device, inter) => {
      const range = rig.registered(device, 16, 4, { defaultFlags: 3 });
      device.refusesNonBlockable = true;
      inter.spawn("faults", service(device, range));
      inter.spawn(
        "reaps",
        withMmapRead(rig.mm, () => zapNonBlocking(rig.machine, rig.mm, 16, 18)),
      );
      inter.run();
      checkTable(rig, device, range);
    }, /the device reaches frame/);
  });
});

test("the thirteenth, still there after the series: a boolean does not see what has come and gone", () => {
  mustFail((rig, device, inter) => {
    const range = rig.registered(device, 16, 2, { defaultFlags: 3 });
    inter.spawn("faults", service(device, range, { isValid: validAsOf2019 }));
    inter.spawn("discards", discard(rig));
    inter.run();
    checkTable(rig, device, range);
  }, /the device reaches frame/);
});

test("the old call-backs are gone again", () => {
  assert.equal(
    withCallbacks({}, () => HMM_NOTIFIER_OPS),
    HMM_NOTIFIER_OPS,
  );
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  device.answer = () => EAGAIN;
  rig.map(16, 1);
  assert.equal(
    rig.reading(() => zapNonBlocking(rig.machine, rig.mm, 16, 17)),
    EAGAIN,
  );
  assert.equal(rig.run(hmmStatistics(rig.machine, rig.mm))?.notifiers, 0);
  device.close();
  rig.leave();
});
