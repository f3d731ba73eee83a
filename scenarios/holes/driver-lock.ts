/** @module A driver's lock that is held while something is called that tells the drivers. */

import { RIG_PAGE, rigScenario } from "../../src/checker/rig/hmm-rig.ts";
import type { HmmRig, RigScenario } from "../../src/checker/rig/hmm-rig.ts";
import { RigDevice } from "../../src/checker/rig/rig-device.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { registerMirrorOps } from "../../src/hmm/mirror-ops.ts";
import { invalidateRange, zapRange } from "../../src/mm/zap.ts";
import { EVENT_MIGRATE } from "../../src/notifier/events.ts";
import { EAGAIN, type Errno } from "../../src/sync/errno.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { ABSENT, deviceOf, discard } from "./setting.ts";

/** A driver that need not hear what it does itself: it has no translation of the pages that it migrates. */
const MIGRATING_OPS: number = registerMirrorOps("exhibit migrating device", {
  *invalidate(mirror, range): Task<Errno> {
    if (range.owner === mirror.at) return 0;
    const record = RigDevice.recordOf(mirror);
    if (range.blockable) yield* record.driverLock.lock();
    else if (!(yield* record.driverLock.tryLock())) return EAGAIN;
    RigDevice.sweep(record, range);
    yield* record.driverLock.unlock();
    return 0;
  },
});

const MIGRATES = 0;
const CLOSES = 1;

interface Shared {
  readonly device: RigDevice;
  /** Of a device that goes. */
  readonly second: RigDevice;
}

const parts: Pick<RigScenario<Shared>, "rig" | "setup"> = {
  rig: ABSENT,
  setup: (rig) => ({ device: deviceOf(rig, MIGRATES, MIGRATING_OPS), second: deviceOf(rig, CLOSES) }),
};

/** Takes a page away from the CPU: so the migration to device memory begins. */
function* takeFromCpu({ device }: Shared, { machine, mm }: HmmRig): Task<void> {
  const range = invalidateRange(mm, RIG_PAGE + 1, RIG_PAGE + 2, EVENT_MIGRATE, { owner: device.mirror.at });
  yield* mm.mmapLock.downRead();
  yield* zapRange(machine, mm, range);
  yield* mm.mmapLock.upRead();
}

function* migrateHolding(shared: Shared, rig: HmmRig): Task<void> {
  yield* shared.device.driverLock.lock();
  yield* takeFromCpu(shared, rig);
  yield* shared.device.driverLock.unlock();
}

function* migrate(shared: Shared, rig: HmmRig): Task<void> {
  yield* takeFromCpu(shared, rig);
  yield* shared.device.driverLock.lock();
  yield* shared.device.driverLock.unlock();
}

function close({ second }: Shared): Task<void> {
  return second.unregister();
}

/** Two of the three, to the end. */
function pair(name: string, tasks: RigScenario<Shared>["tasks"]): AnyScenario {
  return rigScenario<Shared>({
    name: `holes/driver-lock/${name}/after`,
    summary: `only ${name.replace("-", " and ")}`,
    ...parts,
    tasks,
  });
}

export const driverLock: Exhibit = {
  id: "holes/driver-lock",
  title: "Three threads around a driver lock",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    rigScenario<Shared>({
      name: "holes/driver-lock/before",
      summary: "a driver migrates with its lock held while another device closes and the CPU gives up a page",
      expects: "deadlock",
      exploration: { engine: "bounded", preemptions: 1 },
      ...parts,
      tasks: { migrate: migrateHolding, close, discard },
    }),
  ],
  after: [
    rigScenario<Shared>({
      name: "holes/driver-lock/after",
      summary: "the same, but the driver lock is taken when the migration has told everybody",
      exploration: { engine: "bounded", preemptions: 2 },
      ...parts,
      tasks: { migrate, close, discard },
    }),
    pair("migrate-close", { migrate, close }),
    pair("migrate-discard", { migrate, discard }),
    pair("discard-close", { discard, close }),
  ],
};
