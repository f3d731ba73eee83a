/** @module An error path that unregisters a mirror which it never registered. */

import { defineScenario } from "../../src/checker/scenario.ts";
import { Hmm } from "../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../src/hmm/hmm.ts";
import type { HmmMirror } from "../../src/hmm/mirror-record.ts";
import { hmmMirrorUnregister } from "../../src/hmm/mirror.ts";
import { type Struct, type StructView, embed, struct, u32 } from "../../src/memory/struct.ts";
import { EBUSY, type Errno } from "../../src/sync/errno.ts";
import { Mutex } from "../../src/sync/mutex.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Setting } from "./setting.ts";
import { type Device, inSetting, registerMirror } from "./setting.ts";

/** The card that both callers open. */
interface Card extends StructView {
  readonly lock: Mutex;
  opens: number;
}
const Card: Struct<Card> = struct<Card>("exhibitCard", {
  lock: embed(Mutex, "opens", "driverLock"),
  opens: u32("lock", "shared virtual memory is switched on: once only"),
});

interface Shared {
  readonly setting: Setting;
  readonly card: Card;
  readonly first: Device;
  readonly second: Device;
}

function build(setting: Setting): () => Shared {
  const { machine } = setting;
  const card = Card.at(machine.memory, setting.run(machine.heap.alloc(Card)));
  card.lock.init();
  const shared = { setting, card, first: setting.bareDevice(), second: setting.bareDevice() };
  return () => shared;
}

/** One caller wins. */
function* claim(card: Card): Task<Errno> {
  yield* card.lock.lock();
  const isFirst = card.opens === 0;
  if (isFirst) card.opens = 1;
  yield* card.lock.unlock();
  return isFirst ? 0 : EBUSY;
}

/** After patch 9: no guard any more, the caller is trusted. */
function* unregisterTrusting({ machine, record }: HmmMirror): Task<void> {
  const hmm = Hmm.at(machine.memory, record.hmm);
  yield* hmm.mirrorsSem.downWrite();
  record.node.del();
  yield* hmm.mirrorsSem.upWrite();
  yield* hmmPut(machine, hmm);
}

function* openTrusting({ setting, card }: Shared, device: Device): Task<Errno> {
  let errno = yield* claim(card);
  if (errno === 0) errno = yield* registerMirror(setting, device);
  if (errno !== 0) yield* unregisterTrusting(setting.mirrorOf(device));
  return errno;
}

function* open({ setting, card }: Shared, device: Device): Task<Errno> {
  const errno = yield* claim(card);
  if (errno !== 0) return errno; // nothing is registered yet
  const answer = yield* registerMirror(setting, device);
  if (answer === 0) yield* hmmMirrorUnregister(setting.mirrorOf(device));
  return answer;
}

export const neverRegistered: Exhibit = {
  id: "holes/never-registered",
  title: "Unregistering what was never registered",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    defineScenario<Shared>({
      name: "holes/never-registered/before",
      summary: "two callers switch the same card on, and the one that comes too late cleans up",
      expects: "assertion",
      ...inSetting(build),
      tasks: {
        open1: (shared) => openTrusting(shared, shared.first),
        open2: (shared) => openTrusting(shared, shared.second),
      },
    }),
  ],
  after: [
    defineScenario<Shared>({
      name: "holes/never-registered/after",
      summary: "the same, but each way out undoes what was done, and no more",
      ...inSetting(build),
      tasks: { open1: (shared) => open(shared, shared.first), open2: (shared) => open(shared, shared.second) },
    }),
  ],
};
