/**
 * @module A thread that dies while it registers or unregisters a mirror, of a space that has one:
 * what it has is in the mirror's `owns` in each step, and its reaper gives it back (K6 of
 * hmm/mirror/mirror.ts). In the twin a reference of the hmm is noted a step after it is got.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { hmmGet } from "../../../../src/hmm/mirror/get-or-create.ts";
import { hmmPut } from "../../../../src/hmm/mirror/hmm.ts";
import { hmmMirrorUnregister } from "../../../../src/hmm/mirror/mirror.ts";
import { Hmm } from "../../../../src/hmm/hmm-struct.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { ENOMEM } from "../../../../src/sync/errno.ts";
import { deviceOf, hmmOf } from "../../patches/stage.ts";
import type { Covered } from "../covered.ts";
import { requireNoDrivers } from "../hmm/drivers.ts";
import { ONE_DIES, type HarnessBody, coveringOnHarness } from "../on-harness.ts";
import { ONE_STORE_OPS, checkSettled } from "./told-device.ts";

interface World {
  /** Not registered at the beginning. */
  readonly other: HarnessDevice;
}

type Body = HarnessBody<World>;

const comeAndGo: Body = function* ({ other }) {
  assert((yield* other.register()) === 0, "there is memory for a mirror");
  yield* hmmMirrorUnregister(other.mirror);
};

const getUnnoted: HarnessBody<unknown> = function* (_world, { machine, mm }) {
  const at = yield* hmmGet(machine, mm);
  assert(at !== 0, "there is an hmm");
  yield* hmmPut(machine, Hmm.at(machine.memory, at));
};

/** The device's mirror is there alone, with its reference. */
function check(_world: unknown, harness: HmmHarness): void {
  const mirrors = [...hmmOf(harness).mirrors.nodes()].length;
  assert(mirrors === 1, `${mirrors} mirrors are listed`);
  checkSettled(harness);
}

/** It has memory for the use of its driver, and none for the hmm. */
const comeInVain: HarnessBody<HarnessDevice> = function* (device) {
  assert((yield* device.register()) === ENOMEM, "there is memory for an hmm");
};

export const deathsWithMirrors: readonly Covered[] = [
  coveringOnHarness<HarnessDevice>({
    layer: "hmm",
    name: "death/mirror-goes",
    summary: "A thread dies at any step while it unregisters a mirror: all that it had is dropped.",
    harness: { pages: 0 },
    ...ONE_DIES,
    setup(harness) {
      HarnessDevice.registered(harness, ONE_STORE_OPS);
      return deviceOf(harness, 0, ONE_STORE_OPS);
    },
    tasks: {
      dies: [
        ["hmm/mirror/mirror.hmmMirrorUnregister"],
        ({ mirror }) => hmmMirrorUnregister(mirror),
      ],
    },
    check,
    twins: [
      ["unnoted", "It notes nowhere that it has a reference.", "assertion", { dies: getUnnoted }],
    ],
  }),
  coveringOnHarness<HarnessDevice>({
    layer: "hmm",
    name: "death/mirror-without-memory",
    summary:
      "A thread dies at any step while it is refused a mirror for want of memory: its driver is not in use.",
    harness: { pages: 0, shortage: true },
    ...ONE_DIES,
    setup(harness) {
      harness.run(HarnessDevice.registered(harness, ONE_STORE_OPS).unregister());
      harness.run(harness.shortage.begin());
      return new HarnessDevice(harness, ONE_STORE_OPS);
    },
    tasks: { dies: [["hmm/mirror/mirror.hmmMirrorRegister"], comeInVain] },
    check(_device, harness) {
      harness.runAfterwards(requireNoDrivers(harness));
    },
    twins: [],
  }),
  coveringOnHarness<World>({
    layer: "hmm",
    name: "death/mirror-vs-discard",
    summary:
      "A thread dies at any step while it registers a mirror, or unregisters it, and another discards a page.",
    harness: { pages: 1 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup(harness) {
      HarnessDevice.registered(harness, ONE_STORE_OPS);
      return { other: new HarnessDevice(harness, ONE_STORE_OPS) };
    },
    tasks: {
      dies: [
        ["hmm/mirror/mirror.hmmMirrorRegister", "hmm/mirror/mirror.hmmMirrorUnregister"],
        comeAndGo,
      ],
      discard: [
        ["mm/calls/madvise.doMadvise"],
        (_world, harness) => harness.discard(HARNESS_PAGE, 1),
      ],
    },
    check,
    twins: [
      ["unnoted", "It notes nowhere that it has a reference.", "assertion", { dies: getUnnoted }],
    ],
  }),
];
