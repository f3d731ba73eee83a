/** @module Two listeners on one address space, and one of them refuses. */

import { defineScenario } from "../../src/checker/scenario.ts";
import { hmmInvalidateRangeStart, HMM_NOTIFIER_OPS } from "../../src/hmm/invalidate.ts";
import type { HmmRange } from "../../src/hmm/range.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/valid.ts";
import type { Machine } from "../../src/memory/machine.ts";
import { type Struct, type StructView, embed, struct } from "../../src/memory/struct.ts";
import { invalidateRange, zapNonBlocking } from "../../src/mm/zap.ts";
import { EVENT_CLEAR, type InvalidateRange } from "../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierRegister,
  notifierSrcu,
  registerNotifierOps,
} from "../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../src/notifier/subscriptions.ts";
import { EAGAIN, type Errno } from "../../src/sync/errno.ts";
import { Mutex } from "../../src/sync/mutex.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Setting } from "./setting.ts";
import { FIRST_PAGE, inSetting } from "./setting.ts";

/** A driver that listens to the address space itself, without an hmm. */
interface Camera extends StructView {
  readonly node: MmuNotifier;
  readonly lock: Mutex;
}
const Camera: Struct<Camera> = struct<Camera>("exhibitCamera", {
  node: embed(MmuNotifier, "the listener"),
  lock: embed(Mutex, "its buffers", "driverLock"),
});

function* cameraStart(machine: Machine, listener: number, { blockable }: InvalidateRange): Task<Errno> {
  const { lock } = Camera.at(machine.memory, listener);
  if (blockable) yield* lock.lock();
  else if (!(yield* lock.tryLock())) return EAGAIN;
  yield* lock.unlock();
  return 0;
}

const CAMERA_OPS: number = registerNotifierOps("exhibit camera", { invalidateRangeStart: cameraStart });

interface Shared {
  readonly setting: Setting;
  readonly camera: Camera;
  readonly range: HmmRange;
}

/** The camera subscribes first and the hmm after it, so the hmm is asked first. The driver's range waits to be valid. */
function build(setting: Setting): () => Shared {
  const { machine, mm } = setting;
  const camera = Camera.at(machine.memory, setting.run(machine.heap.alloc(Camera)));
  camera.lock.init();
  setting.run(
    (function* (): Task<void> {
      yield* mm.mmapLock.downWrite();
      yield* mmuNotifierRegister(machine, mm.notifiers, camera.node, CAMERA_OPS);
      yield* mm.mmapLock.upWrite();
    })(),
  );
  const place = setting.registeredRange(setting.device(0));
  return () => ({ setting, camera, range: setting.openRange(place) });
}

/** The walk of 2019: it stops at the first listener that refuses, and those before it hear nothing more. */
function* startAsOf2019(machine: Machine, range: InvalidateRange): Task<Errno> {
  const srcu = yield* notifierSrcu(machine);
  const section = yield* srcu.readLock();
  let answer: Errno = 0;
  for (let at = range.subscriptions.first(); at !== 0 && answer === 0;) {
    const node = new MmuNotifier(machine.memory, at);
    const start = node.opsId() === HMM_NOTIFIER_OPS ? hmmInvalidateRangeStart : cameraStart;
    answer = yield* start(machine, at, range);
    at = node.next();
  }
  yield* srcu.readUnlock(section);
  return answer;
}

/** The out-of-memory reaper, which may not wait for anybody; what lies between start and end is left out. */
function* reapAsOf2019({ setting: { machine, mm } }: Shared): Task<void> {
  const range = invalidateRange(mm, FIRST_PAGE, FIRST_PAGE + 1, EVENT_CLEAR, { blockable: false });
  yield* mm.mmapLock.downRead();
  if ((yield* startAsOf2019(machine, range)) === 0) yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
}

function* reap({ setting: { machine, mm } }: Shared): Task<void> {
  yield* mm.mmapLock.downRead();
  yield* zapNonBlocking(machine, mm, FIRST_PAGE, FIRST_PAGE + 1);
  yield* mm.mmapLock.upRead();
}

function* record({ camera }: Shared): Task<void> {
  yield* camera.lock.lock();
  yield* camera.lock.unlock();
}

function* fault({ range }: Shared): Task<void> {
  yield* hmmRangeWaitUntilValid(range, Infinity);
}

export const twoNotifiers: Exhibit = {
  id: "holes/two-notifiers",
  title: "Two listeners, and one of them refuses",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    defineScenario<Shared>({
      name: "holes/two-notifiers/before",
      summary: "the reaper asks two listeners, and the second refuses because its lock is busy",
      expects: "lost-wakeup",
      ...inSetting(build),
      tasks: { reap: reapAsOf2019, camera: record, fault },
    }),
  ],
  after: [
    defineScenario<Shared>({
      name: "holes/two-notifiers/after",
      summary: "the same with the shipped walk, which ends at the first what the second refused",
      ...inSetting(build),
      tasks: { reap, camera: record, fault },
      check: ({ setting }) => {
        const { notifiers } = setting.hmm;
        if (notifiers !== 0) throw new Error(`${notifiers} invalidations are in flight, and nobody will end them`);
      },
    }),
  ],
};
