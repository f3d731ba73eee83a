/** @module On-demand paging, second bug: a start that refuses and keeps the semaphore that only its end gives back. */

import { defineScenario } from "../../src/checker/scenario.ts";
import type { Machine } from "../../src/memory/machine.ts";
import { type Struct, type StructView, embed, struct } from "../../src/memory/struct.ts";
import { zapNonBlocking } from "../../src/mm/zap.ts";
import type { InvalidateRange } from "../../src/notifier/events.ts";
import { mmuNotifierRegister, registerNotifierOps } from "../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../src/notifier/subscriptions.ts";
import { EAGAIN, type Errno } from "../../src/sync/errno.ts";
import { Mutex } from "../../src/sync/mutex.ts";
import { RwSem } from "../../src/sync/rwsem.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Setting } from "./setting.ts";
import { type Device, FIRST_PAGE, inSetting, registerMirror } from "./setting.ts";

/** The regions of one address space that a network card may reach. */
interface Regions extends StructView {
  readonly node: MmuNotifier;
  readonly regionsSem: RwSem;
  readonly cardLock: Mutex;
}
const Regions: Struct<Regions> = struct<Regions>("exhibitRegions", {
  node: embed(MmuNotifier, "the listener"),
  regionsSem: embed(RwSem, "the regions; held for reading from start to end", "regionsSem"),
  cardLock: embed(Mutex, "the card's table", "cardLock"),
});

function* regionsStart(machine: Machine, listener: number, { blockable }: InvalidateRange): Task<Errno> {
  const { regionsSem, cardLock } = Regions.at(machine.memory, listener);
  if (blockable) yield* regionsSem.downRead();
  else if (!(yield* regionsSem.tryDownRead())) return EAGAIN;
  if (blockable) yield* cardLock.lock();
  else if (!(yield* cardLock.tryLock())) return EAGAIN; // and regionsSem?
  yield* cardLock.unlock();
  return 0;
}

function* regionsEnd(machine: Machine, listener: number): Task<void> {
  yield* Regions.at(machine.memory, listener).regionsSem.upRead();
}

const REGIONS_OPS: number = registerNotifierOps("exhibit regions", {
  invalidateRangeStart: regionsStart,
  invalidateRangeEnd: regionsEnd,
});

interface Before {
  readonly setting: Setting;
  readonly regions: Regions;
}

function buildBefore(setting: Setting): () => Before {
  const { machine, mm } = setting;
  const regions = Regions.at(machine.memory, setting.run(machine.heap.alloc(Regions)));
  regions.regionsSem.init();
  regions.cardLock.init();
  setting.run(
    (function* (): Task<void> {
      yield* mm.mmapLock.downWrite();
      yield* mmuNotifierRegister(machine, mm.notifiers, regions.node, REGIONS_OPS);
      yield* mm.mmapLock.upWrite();
    })(),
  );
  return () => ({ setting, regions });
}

function* openRegion({ regions: { regionsSem } }: Before): Task<void> {
  yield* regionsSem.downWrite();
  yield* regionsSem.upWrite();
}

function* sendHolding({ regions: { cardLock } }: Before): Task<void> {
  yield* cardLock.lock();
  yield* cardLock.unlock();
}

interface After {
  readonly setting: Setting;
  readonly device: Device;
  readonly second: Device;
}

function buildAfter(setting: Setting): () => After {
  const shared = { setting, device: setting.device(0), second: setting.bareDevice() };
  return () => shared;
}

function* reap({ setting: { machine, mm } }: { readonly setting: Setting }): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* zapNonBlocking(machine, mm, FIRST_PAGE, FIRST_PAGE + 1);
  yield* mm.mmapLock.upRead();
}

export const readHeld: Exhibit = {
  id: "holes/read-held",
  title: "On-demand paging: read-held for ever",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    defineScenario<Before>({
      name: "holes/read-held/before",
      summary: "the reaper is refused because the card is busy, and then somebody wants to register a region",
      expects: "deadlock",
      ...inSetting(buildBefore),
      tasks: { reap, send: sendHolding, open: openRegion },
    }),
  ],
  after: [
    defineScenario<After>({
      name: "holes/read-held/after",
      summary: "the same with the shipped hmm: the reaper is refused, and another mirror is registered",
      ...inSetting(buildAfter),
      tasks: {
        reap,
        *send({ device }) {
          yield* device.driverLock.lock();
          yield* device.driverLock.unlock();
        },
        open: ({ setting, second }) => registerMirror(setting, second),
      },
    }),
  ],
};
