/**
 * @module Memory runs out while a device is opened on a space: nothing of it is left, and when
 * there is memory again it can be had.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  type OpenedDevice,
  closeDevice,
  openDevice,
} from "../../../../src/devices/software/open-device.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { type Attempt, attempted } from "../attempts.ts";
import type { Covered } from "../covered.ts";

const OPTIONS = { memoryBytes: 4096, threads: 1, faultTimeoutMs: 2 ** 30 };

interface Owner {
  opened: OpenedDevice | undefined;
}

function* open({ machine, mm }: HmmHarness, owner: Owner): Task<number> {
  const opened = yield* openDevice(machine, mm, OPTIONS);
  if (typeof opened === "number") return opened;
  owner.opened = opened;
  return 0;
}

function* close({ machine }: HmmHarness, { opened }: Owner): Task<void> {
  assert(opened !== undefined, "the device was opened");
  yield* closeDevice(machine, opened);
}

/** What a machine makes once is made. */
function makeOwner(harness: HmmHarness): Owner {
  const owner: Owner = { opened: undefined };
  harness.run(open(harness, owner));
  harness.run(close(harness, owner));
  return owner;
}

const opens: Attempt<Owner> = {
  layer: "devices",
  name: "open",
  summary: "A device is opened, and the heap has no room for one of its parts.",
  runs: ["devices/software/open-device.openDevice", "devices/software/device-state.createDevice"],
  harness: { pages: 1 },
  setup: makeOwner,
  act: open,
  undo: close,
};

/** The first of its machine, whose list of devices is to be made. */
const opensFirst: Attempt<Owner> = {
  ...opens,
  name: "open-first",
  setup: () => ({ opened: undefined }),
};

export const devicesWithoutMemory: readonly Covered[] = [attempted(opens), attempted(opensFirst)];
