/** @module The last user of an address space goes under a lock that its teardown needs. */

import { defineScenario } from "../../src/checker/scenario.ts";
import type { Hmm } from "../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../src/hmm/hmm.ts";
import { OWNS_NOTHING, RANGE_POISON } from "../../src/hmm/range-record.ts";
import { type HmmRange, hmmOfRange, hmmRangeUnregister } from "../../src/hmm/range.ts";
import type { Machine } from "../../src/memory/machine.ts";
import { Mm } from "../../src/mm/mm-struct.ts";
import { mmdrop, mmput } from "../../src/mm/mm.ts";
import { mmuNotifierRelease } from "../../src/notifier/mmu-notifier.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Setting } from "./setting.ts";
import { type Device, inSetting } from "./setting.ts";

interface Shared {
  readonly setting: Setting;
  readonly device: Device;
  readonly range: HmmRange;
}

const FAULTS = 0;

function build(setting: Setting): () => Shared {
  const device = setting.device(FAULTS);
  const place = setting.registeredRange(device);
  return () => ({ setting, device, range: setting.openRange(place) });
}

/** Without the question whether the caller holds a lock. Of the teardown no more than the release of the devices. */
function* mmputUnasked(machine: Machine, mm: Mm): Task<void> {
  if (!(yield* mm.users.put())) return;
  yield* mmuNotifierRelease(machine, mm.notifiers);
  yield* mmdrop(machine, mm);
}

function* unregisterUnasked(range: HmmRange): Task<void> {
  const { machine, record } = range;
  const hmm: Hmm = hmmOfRange(range);
  yield* hmm.rangesLock.lock();
  record.node.del();
  yield* hmm.rangesLock.unlock();
  yield* mmputUnasked(machine, Mm.at(machine.memory, hmm.mm));
  record.owns = OWNS_NOTHING;
  record.hmm = RANGE_POISON;
  yield* hmmPut(machine, hmm);
}

/** The end of a fault, as drivers of 2019 wrote it: programmed, unregistered, unlocked. */
function* finishHolding({ device, range }: Shared): Task<void> {
  yield* device.driverLock.lock();
  yield* unregisterUnasked(range);
  yield* device.driverLock.unlock();
}

function* finish({ device, range }: Shared): Task<void> {
  yield* device.driverLock.lock();
  yield* device.driverLock.unlock();
  yield* hmmRangeUnregister(range);
}

export const lastUser: Exhibit = {
  id: "holes/last-user",
  title: "The last user goes under a lock",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    defineScenario<Shared>({
      name: "holes/last-user/before",
      summary: "a driver unregisters its range under its lock while the process ends",
      expects: "deadlock",
      ...inSetting(build),
      tasks: { fault: finishHolding, exit: ({ setting: { machine, mm } }) => mmputUnasked(machine, mm) },
    }),
  ],
  after: [
    defineScenario<Shared>({
      name: "holes/last-user/after",
      summary: "the same, but the lock is dropped first; the whole teardown runs",
      ...inSetting(build),
      tasks: { fault: finish, exit: ({ setting: { machine, mm } }) => mmput(machine, mm) },
    }),
  ],
};
