/**
 * @module A device serves a page whose frame is shared with a child, while a store of the CPU puts
 * a copy into its place: inside an invalidation, so the device does not keep the old frame, and may
 * ask again afterwards.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { WRITTEN_RIGHTS, makePte, ptePfn } from "../../../../src/mm/pte.ts";
import { leafOf, pteIndex } from "../../../../src/mmu/radix-table.ts";
import { atomicExchange } from "../../../../src/sync/atomics.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";
import { hmmOf } from "../../patches/stage.ts";

type Body = HarnessBody<HarnessDevice>;

const serves: Body = function* (device) {
  const errno = yield* device.serve(HARNESS_PAGE, 1);
  assert(errno === 0 || errno === EBUSY, `the device's fault answered ${errno}`);
};

const stores: Body = (_device, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true);

/** As a fault that copies, but no notifier is called. */
const storesUnnotified: Body = function* (_device, { machine, mm }) {
  const { memory, ram } = machine;
  const copy = yield* ram.allocFrame(false);
  yield* mm.mmapLock.downRead();
  const index = pteIndex(leafOf(memory, mm.pgd, HARNESS_PAGE), HARNESS_PAGE);
  yield* access(memory, "update", index, 1, "pte");
  const before = atomicExchange(memory.words, index, makePte(copy, WRITTEN_RIGHTS));
  yield* mm.shootdown.flush(HARNESS_PAGE, HARNESS_PAGE + 1);
  yield* mm.mmapLock.upRead();
  yield* ram.refs.pagePut(ptePfn(before));
};

/** The device has the page's frame or none, and no invalidation goes on. */
function requireSettled(device: HarnessDevice, harness: HmmHarness): void {
  device.requireCoherent();
  const { notifiers, inFlightCount } = hmmOf(harness);
  assert(notifiers === 0 && inFlightCount === 0, "an invalidation goes on for ever");
}

export const replacedFrames: readonly Covered[] = [
  coveringOnHarness<HarnessDevice>({
    layer: "hmm",
    name: "serve-vs-copy-on-write",
    summary:
      "A device serves a page that a child shares, while a store puts a copy into its place.",
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 2 },
    setup(harness) {
      harness.run(doFork(harness.machine, harness.mm));
      return HarnessDevice.registered(harness);
    },
    tasks: {
      serve: [["hmm/walk/fault.hmmRangeFault", "hmm/range/valid.hmmRangeValid"], serves],
      store: [["mm/fault/copy-on-write.writeProtectedPrivate"], stores],
    },
    check: requireSettled,
    twins: [
      [
        "unnotified",
        "The copy comes into the place of the page, and no notifier is called.",
        "assertion",
        { store: storesUnnotified },
      ],
    ],
  }),
];
