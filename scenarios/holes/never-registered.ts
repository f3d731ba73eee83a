/** @module An error path that unregisters a mirror which it never registered. */

import { rigScenario } from "../../src/checker/rig/hmm-rig.ts";
import type { HmmRig, RigScenario } from "../../src/checker/rig/hmm-rig.ts";
import { RigDevice } from "../../src/checker/rig/rig-device.ts";
import { Hmm } from "../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../src/hmm/hmm.ts";
import type { HmmMirror } from "../../src/hmm/mirror-record.ts";
import { type Struct, type StructView, embed, struct, u32 } from "../../src/memory/struct.ts";
import { EBUSY, type Errno } from "../../src/sync/errno.ts";
import { Mutex } from "../../src/sync/mutex.ts";
import type { Task } from "../../src/sync/task.ts";
import type { Exhibit } from "../exhibit.ts";

/** The card that both callers switch on. */
interface Card extends StructView {
  readonly lock: Mutex;
  opens: number;
}
const Card: Struct<Card> = struct<Card>("exhibitCard", {
  lock: embed(Mutex, "opens", "cardLock"),
  opens: u32("lock", "1: shared virtual memory is on; only one may have it"),
});

interface Shared {
  readonly card: Card;
  readonly first: RigDevice;
  readonly second: RigDevice;
}

const parts: Pick<RigScenario<Shared>, "rig" | "setup"> = {
  rig: { pages: 0 },
  setup: (rig) => {
    const { machine } = rig;
    const card = Card.at(machine.memory, rig.run(machine.heap.alloc(Card)));
    card.lock.init();
    return { card, first: new RigDevice(rig), second: new RigDevice(rig) };
  },
};

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

/** One clean-up for whatever went wrong. */
function* openTrusting(card: Card, device: RigDevice): Task<Errno> {
  let errno = yield* claim(card);
  if (errno === 0) errno = yield* device.register();
  if (errno !== 0) yield* unregisterTrusting(device.mirror);
  return errno;
}

/** Each way out undoes what was done. */
function* open(card: Card, device: RigDevice): Task<Errno> {
  const errno = yield* claim(card);
  if (errno !== 0) return errno; // nothing is registered yet
  const answer = yield* device.register();
  if (answer === 0) yield* device.unregister();
  return answer;
}

function tasks(
  body: (card: Card, device: RigDevice) => Task<Errno>,
): Readonly<Record<string, (shared: Shared, rig: HmmRig) => Task<Errno>>> {
  return { open1: ({ card, first }) => body(card, first), open2: ({ card, second }) => body(card, second) };
}

export const neverRegistered: Exhibit = {
  id: "holes/never-registered",
  title: "Unregistering what was never registered",
  was: ``,
  wrong: ``,
  now: ``,
  before: [
    rigScenario<Shared>({
      name: "holes/never-registered/before",
      summary: "two callers switch the same card on, and the one that comes too late cleans up",
      expects: "assertion",
      ...parts,
      tasks: tasks(openTrusting),
    }),
  ],
  after: [
    rigScenario<Shared>({
      name: "holes/never-registered/after",
      summary: "the same, but each way out undoes what was done, and no more",
      ...parts,
      tasks: tasks(open),
    }),
  ],
};
