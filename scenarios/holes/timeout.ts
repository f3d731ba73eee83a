/** @module A wait that runs out of time, and the way out that forgets the range. */

import { rigScenario } from "../../src/checker/rig/hmm-rig.ts";
import type { HmmRig, RigScenario } from "../../src/checker/rig/hmm-rig.ts";
import { hmmRangeRegister, hmmRangeUnregister, withHmmRange } from "../../src/hmm/range.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/valid.ts";
import { EBUSY, type Errno } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { ABSENT, type DeviceAndRange, END, START, deviceOf, discard, rangeOf, reopenRange } from "./setting.ts";

function* faultLeaking({ device, range }: DeviceAndRange): Task<Errno> {
  const errno = yield* hmmRangeRegister(range, device.mirror, START, END);
  if (errno !== 0) return errno;
  if (!(yield* hmmRangeWaitUntilValid(range))) return EBUSY;
  yield* hmmRangeUnregister(range);
  return 0;
}

function* fault({ device, range }: DeviceAndRange): Task<Errno> {
  return yield* withHmmRange(range, device.mirror, START, END, function* () {
    return (yield* hmmRangeWaitUntilValid(range)) ? 0 : EBUSY;
  });
}

const parts: Pick<RigScenario<DeviceAndRange>, "rig" | "setup" | "reopen" | "exploration" | "check"> = {
  rig: ABSENT,
  exploration: { timeouts: 1 },
  setup: (rig) => ({ device: deviceOf(rig, 0), range: rangeOf(rig) }),
  reopen: reopenRange,
  check: (_shared, rig) => checkUsers(rig),
};

/** Whoever is left over keeps the address space alive when its process ends. */
function checkUsers({ mm }: HmmRig): void {
  const users = mm.users.read();
  if (users !== 1) throw new Error(`the address space has ${users} users, and only one thread that knows of it`);
}

export const timeout: Exhibit = {
  id: "holes/timeout",
  title: "The way out that forgets the range",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    rigScenario<DeviceAndRange>({
      name: "holes/timeout/before",
      summary: "a fault waits for its range to become valid, and the wait runs out of time",
      expects: "assertion",
      ...parts,
      tasks: { fault: faultLeaking, discard },
    }),
  ],
  after: [
    rigScenario<DeviceAndRange>({
      name: "holes/timeout/after",
      summary: "the same with withHmmRange, which unregisters on every way out",
      ...parts,
      tasks: { fault, discard },
      balanced: true,
    }),
  ],
};
