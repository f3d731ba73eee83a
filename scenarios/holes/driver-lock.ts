/** @module A driver's lock that is held while something is called that tells the drivers. */

import { type AnyScenario, type Scenario, defineScenario } from "../../src/checker/scenario.ts";
import { hmmMirrorUnregister } from "../../src/hmm/mirror.ts";
import { invalidateRange, zapRange } from "../../src/mm/zap.ts";
import { EVENT_MIGRATE } from "../../src/notifier/events.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Setting } from "./setting.ts";
import { type Device, FIRST_PAGE, discard, inSetting } from "./setting.ts";

const MIGRATES = 0;
const CLOSES = 1;

interface Shared {
  readonly setting: Setting;
  readonly device: Device;
  readonly second: Device;
}

function build(setting: Setting): () => Shared {
  const shared = { setting, device: setting.device(MIGRATES), second: setting.device(CLOSES) };
  return () => shared;
}

/** Takes pages away from the CPU, as a migration to device memory begins; the device itself need not be told. */
function* takeFromCpu({ setting: { machine, mm }, device }: Shared): Task<void> {
  const range = invalidateRange(mm, FIRST_PAGE + 1, FIRST_PAGE + 2, EVENT_MIGRATE, { owner: device.mirror.at });
  yield* mm.mmapLock.downRead();
  yield* zapRange(machine, mm, range);
  yield* mm.mmapLock.upRead();
}

function* migrateHolding(shared: Shared): Task<void> {
  yield* shared.device.driverLock.lock();
  yield* takeFromCpu(shared);
  yield* shared.device.driverLock.unlock();
}

function* migrate(shared: Shared): Task<void> {
  yield* takeFromCpu(shared);
  yield* shared.device.driverLock.lock();
  yield* shared.device.driverLock.unlock();
}

function* close({ setting, second }: Shared): Task<void> {
  yield* hmmMirrorUnregister(setting.mirrorOf(second));
}

/** Two of the three, to the end. */
function pair(name: string, tasks: Scenario<Shared>["tasks"]): AnyScenario {
  return defineScenario<Shared>({
    name: `holes/driver-lock/${name}/after`,
    summary: `${name.replace("-", " and ")} alone`,
    ...inSetting(build),
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
    defineScenario<Shared>({
      name: "holes/driver-lock/before",
      summary: "a driver migrates with its lock held while another device closes and the CPU gives up a page",
      expects: "deadlock",
      exploration: { engine: "bounded", preemptions: 1 },
      ...inSetting(build),
      tasks: { migrate: migrateHolding, close, discard },
    }),
  ],
  after: [
    defineScenario<Shared>({
      name: "holes/driver-lock/after",
      summary: "the same, but the driver lock is taken when the migration has told everybody",
      exploration: { engine: "bounded", preemptions: 2 },
      ...inSetting(build),
      tasks: { migrate, close, discard },
    }),
    pair("migrate-close", { migrate, close }),
    pair("migrate-discard", { migrate, discard }),
    pair("discard-close", { discard, close }),
  ],
};
