/** @module A wait that runs out of time, and the way out that forgets the range. */

import { defineScenario } from "../../src/checker/scenario.ts";
import { type HmmRange, hmmRangeRegister, hmmRangeUnregister, withHmmRange } from "../../src/hmm/range.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/valid.ts";
import { EBUSY, type Errno } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Setting } from "./setting.ts";
import { type Device, END, START, discard, inSetting } from "./setting.ts";

interface Shared {
  readonly setting: Setting;
  readonly device: Device;
  readonly range: HmmRange;
}

const FAULTS = 0;

function build(setting: Setting): () => Shared {
  const device = setting.device(FAULTS);
  const place = setting.rangePlace();
  return () => ({ setting, device, range: setting.openRange(place) });
}

function* faultLeaking({ setting, device, range }: Shared): Task<Errno> {
  const errno = yield* hmmRangeRegister(range, setting.mirrorOf(device), START, END);
  if (errno !== 0) return errno;
  if (!(yield* hmmRangeWaitUntilValid(range))) return EBUSY;
  yield* hmmRangeUnregister(range);
  return 0;
}

function* fault({ setting, device, range }: Shared): Task<Errno> {
  return yield* withHmmRange(range, setting.mirrorOf(device), START, END, function* () {
    return (yield* hmmRangeWaitUntilValid(range)) ? 0 : EBUSY;
  });
}

/** Whoever is left over keeps the address space alive when its process ends. */
function checkUsers({ setting: { mm } }: Shared): void {
  const users = mm.users.read();
  if (users !== 1) throw new Error(`the address space has ${users} users and one thread that knows of it`);
}

export const timeout: Exhibit = {
  id: "holes/timeout",
  title: "The way out that forgets the range",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    defineScenario<Shared>({
      name: "holes/timeout/before",
      summary: "a fault waits for its range to become valid, and the wait runs out of time",
      expects: "assertion",
      exploration: { timeouts: 1 },
      ...inSetting(build),
      tasks: { fault: faultLeaking, discard },
      check: checkUsers,
    }),
  ],
  after: [
    defineScenario<Shared>({
      name: "holes/timeout/after",
      summary: "the same with withHmmRange, which unregisters on every way out",
      exploration: { timeouts: 1 },
      ...inSetting(build),
      tasks: { fault, discard },
      check: checkUsers,
    }),
  ],
};
