/**
 * @module The twelve patches of June 2019 in hundreds of random interleavings, with the shipped
 * allocators, which reuse freed memory, and with more threads and devices than can be explored to
 * the end. command/scenarios/patches and command/scenarios/holes explore each old and each shipped
 * code in every order. One old code is here, too, to show that random orders find a bug.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { hmmMirrorRegister, hmmMirrorUnregister } from "../../src/hmm/mirror/mirror.ts";
import { OWNS_REGISTRATION, readSequence, sequenceIsValid } from "../../src/hmm/range-record.ts";
import { type HmmRange, hmmRangeRegister, hmmRangeUnregister } from "../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/walk/snapshot.ts";
import { hmmStatistics } from "../../src/hmm/mirror/statistics.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/range/valid.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { zapNonBlocking } from "../../src/mm/entries/zap.ts";
import { EAGAIN, EBUSY } from "../../src/sync/errno.ts";
import { AssertionFailure } from "../../src/sync/errors.ts";
import { type Task, doneBoolean } from "../../src/sync/tasks/task.ts";
import { checkTable, service } from "./driver-loop.ts";
import { Interleaver, firstFailure, forSeeds } from "./interleaver.ts";
import { FakeDevice, Harness, withMmapRead, withMmapWrite } from "./harness.ts";

const SEEDS = 150;
const SMALL = { ramBytes: 2 ** 20, heapBytes: 2 ** 21 };
const START = 16 * PAGE_BYTES;

/** An invalidation of the harness's first mapped pages. */
function discard(harness: Harness, pages = 2): Task<number> {
  return doMadvise(harness.machine, harness.mm, START, pages * PAGE_BYTES, MADV_DONTNEED);
}

function* expectZero(task: Task<number>): Task<void> {
  assert.equal(yield* task, 0);
}

function withDevices(
  count: number,
  seed: number,
  run: (harness: Harness, devices: FakeDevice[], inter: Interleaver) => void,
): void {
  const harness = new Harness(SMALL);
  harness.map(16, 4);
  harness.touch(16, 4);
  const devices = Array.from({ length: count }, () => FakeDevice.registered(harness));
  run(harness, devices, new Interleaver(harness.machine.memory, seed));
  for (const device of devices) device.close();
  harness.leave();
}

test("patch 1: no call-back uses a freed hmm, in any order of the last unregister and an invalidation", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(1, seed, (harness, [device], inter) => {
      assert.ok(device !== undefined);
      inter.spawn("invalidates", expectZero(discard(harness)));
      inter.spawn("takes the last mirror off", hmmMirrorUnregister(device.mirror));
      inter.run();
      device.forgetRegistration();
      assert.equal(harness.mm.hmm, 0);
    });
  });
});

test("patch 2: a range has a mirror, so its driver is called for every change, and registering never fails because a hmm is being freed", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(2, seed, (harness, [leaving, staying], inter) => {
      assert.ok(leaving !== undefined && staying !== undefined);
      const range = harness.range({ pages: 2 });
      const hmm = harness.mm.hmm;
      inter.spawn("leaves", hmmMirrorUnregister(leaving.mirror));
      inter.spawn(
        "registers a range",
        expectZero(hmmRangeRegister(range, staying.mirror, START, START + 2 * PAGE_BYTES)),
      );
      inter.run();
      leaving.forgetRegistration();
      assert.equal(harness.mm.hmm, hmm, "no hmm was made for a range");
      harness.must(discard(harness));
      assert.equal(staying.calls.length, 1);
      harness.run(hmmRangeUnregister(range));
      harness.freeRange(range);
    });
  });
});

test("patch 3: a hmm that outlives its address space ends without touching freed memory", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(1, seed, (harness, [device], inter) => {
      assert.ok(device !== undefined);
      inter.spawn("exits", harness.exit());
      inter.spawn("closes the file", hmmMirrorUnregister(device.mirror));
      inter.run();
      device.forgetRegistration();
    });
  });
});

test("patch 4: every creator gets the one hmm, also while another is being freed", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(1, seed, (harness, [dying], inter) => {
      assert.ok(dying !== undefined);
      const fresh = [new FakeDevice(harness), new FakeDevice(harness)];
      for (const device of fresh) {
        inter.spawn(
          "creates",
          expectZero(withMmapWrite(harness.mm, () => hmmMirrorRegister(device.mirror, harness.mm))),
        );
      }
      inter.spawn("destroys", hmmMirrorUnregister(dying.mirror));
      inter.run();
      dying.forgetRegistration();
      const homes = fresh.map(({ mirror }) => mirror.record.hmm);
      assert.deepEqual(homes, [harness.mm.hmm, harness.mm.hmm]);
      harness.must(discard(harness));
      assert.deepEqual(
        fresh.map(({ calls }) => calls.length),
        [1, 1],
      );
      for (const device of fresh) {
        device.noteRegistration();
        device.close();
      }
    });
  });
});

test("patch 5: a wait that did not time out answers true, whatever happens after it was woken", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(1, seed, (harness, [device], inter) => {
      assert.ok(device !== undefined);
      const range = harness.registered(device, 16, 2);
      for (let i = 0; i < 2; i++) inter.spawn("invalidates", expectZero(discard(harness)));
      inter.spawn(
        "waits",
        (function* (): Task<void> {
          for (let i = 0; i < 3; i++)
            assert.equal(yield* hmmRangeWaitUntilValid(range, Infinity), true);
        })(),
      );
      inter.run();
      harness.run(hmmRangeUnregister(range));
      harness.freeRange(range);
    });
  });
});

test("patch 6: a range may be freed right after unregister, without a grace period, since the list is walked under its lock alone", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(1, seed, (harness, [device], inter) => {
      assert.ok(device !== undefined);
      const ranges = [harness.registered(device, 16, 2), harness.registered(device, 17, 2)];
      inter.spawn("invalidates", expectZero(discard(harness)));
      inter.spawn(
        "unregisters and frees",
        (function* (): Task<void> {
          for (const range of ranges) {
            yield* hmmRangeUnregister(range);
            yield* harness.freeing(range);
          }
        })(),
      );
      inter.run();
    });
  });
});

test("patch 7: an address space cannot die under a registered range: release comes after the last unregister", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(1, seed, (harness, [device], inter) => {
      assert.ok(device !== undefined);
      const range = harness.registered(device, 16, 4);
      device.onRelease = function* () {
        assert.notEqual(range.record.owns, OWNS_REGISTRATION, "release met a registered range");
      };
      inter.spawn("exits", harness.exit());
      inter.spawn(
        "snapshots",
        (function* (): Task<void> {
          const pages = yield* withMmapRead(harness.mm, () => hmmRangeSnapshot(range));
          assert.ok(pages === 4 || pages === EBUSY);
          yield* hmmRangeUnregister(range);
        })(),
      );
      inter.run();
      assert.equal(harness.run(hmmStatistics(harness.machine, harness.mm))?.releasedWithRanges, 0);
      assert.deepEqual(
        device.calls.map(({ call }) => call),
        ["release"],
      );
      harness.freeRange(range);
    });
  });
});

test("patch 8: the locks that comments required are asserted, by name", () => {
  const harness = new Harness();
  const device = new FakeDevice(harness);
  assert.throws(
    () => harness.run(hmmMirrorRegister(device.mirror, harness.mm)),
    /must hold mmapLock here|mmapLock/,
  );
  assert.equal(device.tryRegister(), 0);
  const range = harness.registered(device, 16, 1);
  assert.throws(() => harness.run(hmmRangeSnapshot(range)), /mmapLock/);
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("patch 9: of two threads that unregister a mirror at once one succeeds and the other throws", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(1, seed, (_harness, [device], inter) => {
      assert.ok(device !== undefined);
      let refused = 0;
      for (let i = 0; i < 2; i++) {
        inter.spawn(
          "unregisters",
          (function* (): Task<void> {
            try {
              yield* hmmMirrorUnregister(device.mirror);
            } catch (error) {
              assert.ok(
                error instanceof AssertionFailure && /unregistered already/.test(error.message),
                String(error),
              );
              refused++;
            }
          })(),
        );
      }
      inter.run();
      assert.equal(refused, 1);
      device.forgetRegistration();
    });
  });
});

test("patch 10: a range that was unregistered is poison: every use says which range, and nothing is dropped twice", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const range = harness.registered(device, 16, 4);
  const users = harness.mm.users.read();
  harness.run(hmmRangeUnregister(range));
  for (let i = 0; i < 2; i++) {
    assert.throws(
      () => harness.run(hmmRangeUnregister(range)),
      /Cannot unregister hmm range at .*: it was unregistered/,
    );
  }
  assert.equal(harness.mm.users.read(), users - 1);
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("patch 11: release is called on a mirror that its driver has not freed, or not at all", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(2, seed, (harness, [closing, staying], inter) => {
      assert.ok(closing !== undefined && staying !== undefined);
      inter.spawn("exits", harness.exit());
      inter.spawn(
        "closes the device",
        (function* (): Task<void> {
          yield* hmmMirrorUnregister(closing.mirror);
          yield* closing.freeing(); // from here on a call-back would meet a device that is closed
        })(),
      );
      inter.run();
      assert.ok(closing.calls.length <= 1);
      assert.equal(staying.calls.length, 1);
    });
  });
});

test("patch 12: a start that fails leaves every count as it was, so ranges become valid again and new ones begin valid", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(1, seed, (harness, [device], inter) => {
      assert.ok(device !== undefined);
      const range = harness.registered(device, 16, 4);
      const late = new FakeDevice(harness);
      for (let i = 0; i < 2; i++) {
        inter.spawn(
          "reaps",
          (function* (): Task<void> {
            const answer = yield* withMmapRead(harness.mm, () =>
              zapNonBlocking(harness.machine, harness.mm, 16, 18),
            );
            assert.ok(answer === 0 || answer === EAGAIN);
          })(),
        );
      }
      inter.spawn(
        "comes and goes",
        (function* (): Task<void> {
          yield* expectZero(
            withMmapWrite(harness.mm, () => hmmMirrorRegister(late.mirror, harness.mm)),
          );
          yield* hmmMirrorUnregister(late.mirror);
        })(),
      );
      inter.run();
      assert.equal(harness.run(hmmStatistics(harness.machine, harness.mm))?.notifiers, 0);
      assert.equal(harness.run(hmmRangeWaitUntilValid(range, 1)), true);
      late.close();
      harness.run(hmmRangeUnregister(range));
      harness.freeRange(range);
    });
  });
});

test("patch 12: EAGAIN of a driver reaches the reaper, so no page is freed that the device can reach", () => {
  forSeeds(SEEDS, (seed) => {
    withDevices(2, seed, (harness, [willing, refusing], inter) => {
      assert.ok(willing !== undefined && refusing !== undefined);
      const range = harness.registered(refusing, 16, 4, { defaultFlags: 3 });
      refusing.refusesNonBlockable = true;
      inter.spawn("faults", service(refusing, range));
      inter.spawn(
        "reaps",
        (function* (): Task<void> {
          assert.equal(
            yield* withMmapRead(harness.mm, () =>
              zapNonBlocking(harness.machine, harness.mm, 16, 18),
            ),
            EAGAIN,
          );
        })(),
      );
      inter.run();
      checkTable(harness, refusing, range);
      assert.equal(harness.run(hmmStatistics(harness.machine, harness.mm))?.notifiers, 0);
      harness.run(hmmRangeUnregister(range));
      harness.freeRange(range);
    });
  });
});

test("the thirteenth: an invalidation that has run between read-begin and recheck is noticed (a sequence, not a boolean)", () => {
  forSeeds(SEEDS * 2, (seed) => {
    withDevices(1, seed, (harness, [device], inter) => {
      assert.ok(device !== undefined);
      const range = harness.registered(device, 16, 2, { defaultFlags: 3 });
      inter.spawn("faults", service(device, range));
      inter.spawn("discards", expectZero(discard(harness)));
      inter.spawn("discards", expectZero(discard(harness, 1)));
      inter.run();
      checkTable(harness, device, range);
      harness.run(hmmRangeUnregister(range));
      harness.freeRange(range);
    });
  });
});

test("BROKEN: the thirteenth as of 2019: a boolean does not notice an invalidation that has ended", () => {
  const stale = /the device reaches frame/;
  const seed = firstFailure(
    SEEDS * 10,
    (one) =>
      withDevices(1, one, (harness, [device], inter) => {
        assert.ok(device !== undefined);
        const range = harness.registered(device, 16, 2, { defaultFlags: 3 });
        const isValid = ({ record }: HmmRange): Task<boolean> =>
          doneBoolean(sequenceIsValid(readSequence(record)));
        inter.spawn("faults", service(device, range, { isValid }));
        inter.spawn("discards", expectZero(discard(harness)));
        inter.run();
        checkTable(harness, device, range);
        harness.run(hmmRangeUnregister(range));
        harness.freeRange(range);
      }),
    stale,
  );
  assert.notEqual(seed, undefined);
});
