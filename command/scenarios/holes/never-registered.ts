/** @module An error path that unregisters a mirror which it never registered. */

import { harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../../src/hmm/mirror/hmm.ts";
import type { HmmMirror } from "../../../src/hmm/mirror-record.ts";
import {
  type Struct,
  type StructView,
  embed,
  struct,
  u32,
} from "../../../src/memory/layout/struct.ts";
import { EBUSY, type Errno } from "../../../src/sync/errno.ts";
import { Mutex } from "../../../src/sync/primitives/mutex.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";

/** The card that both callers want to switch on. */
interface Card extends StructView {
  readonly lock: Mutex;
  opens: number;
}
const Card: Struct<Card> = struct<Card>("exhibitCard", {
  lock: embed(Mutex, "opens", "cardLock"),
  opens: u32("lock", "1: shared virtual memory is on, for one caller"),
});

interface Shared {
  readonly card: Card;
  readonly first: HarnessDevice;
  readonly second: HarnessDevice;
}

const parts: Pick<HarnessScenario<Shared>, "harness" | "setup"> = {
  harness: { pages: 0 },
  setup: (harness) => {
    const { machine } = harness;
    const card = Card.at(machine.memory, harness.run(machine.heap.alloc(Card)));
    card.lock.init();
    return { card, first: new HarnessDevice(harness), second: new HarnessDevice(harness) };
  },
};

/** One caller succeeds. */
function* claim(card: Card): Task<Errno> {
  yield* card.lock.lock();
  const isFirst = card.opens === 0;
  if (isFirst) card.opens = 1;
  yield* card.lock.unlock();
  return isFirst ? 0 : EBUSY;
}

/** After patch 9: without the guard. */
function* unregisterUnchecked({ machine, record }: HmmMirror): Task<void> {
  const hmm = Hmm.at(machine.memory, record.hmm);
  yield* hmm.mirrorsSem.downWrite();
  record.node.del();
  yield* hmm.mirrorsSem.upWrite();
  yield* hmmPut(machine, hmm);
}

/** One clean-up for every failure. */
function* openUnchecked(card: Card, device: HarnessDevice): Task<Errno> {
  let errno = yield* claim(card);
  if (errno === 0) errno = yield* device.register();
  if (errno !== 0) yield* unregisterUnchecked(device.mirror);
  return errno;
}

/** Each return undoes what was done before it. */
function* open(card: Card, device: HarnessDevice): Task<Errno> {
  const errno = yield* claim(card);
  if (errno !== 0) return errno; // nothing is registered yet
  const answer = yield* device.register();
  if (answer === 0) yield* device.unregister();
  return answer;
}

function tasks(
  body: (card: Card, device: HarnessDevice) => Task<Errno>,
): Readonly<Record<string, (shared: Shared, harness: HmmHarness) => Task<Errno>>> {
  return {
    open1: ({ card, first }) => body(card, first),
    open2: ({ card, second }) => body(card, second),
  };
}

export const neverRegistered: Exhibit = {
  id: "holes/never-registered",
  title: "Unregistering what was never registered",
  was: `
Patch 9 removed a test from \`hmm_mirror_unregister\`: "if there is no hmm, return". It looked like
protection against unregistering twice, and was none, since two callers could pass it at the same
time. From then on the caller had to unregister once for each register.
`,
  wrong: `
One caller relied on the test. When nouveau could not switch shared virtual memory on, because
another caller had done so, it left through the function that cleans up after a success. That
function unregisters the mirror. The mirror had never been registered, so its hmm was a null
pointer. Before the patch the test hid that; after it, it was a crash.

*Never registered* and *unregistered twice* are two mistakes, and one test covered both. The patch
was right to remove it for the second, and exposed the first.
`,
  now: `
A mirror has a state: initialised, registered, unregistered. Under a lock of its own, exactly one
thread changes it from registered to unregistered. Every other call is an error that says which
mistake it was: "it was never registered; look at what register returns"
(\`src/hmm/mirror/mirror.ts\`, K3). The driver in the second scenario undoes what it has done, and
no more.
`,
  before: [
    harnessScenario<Shared>({
      name: "holes/never-registered/before",
      summary: "two callers switch the same card on, and the second cleans up",
      expects: "assertion",
      ...parts,
      tasks: tasks(openUnchecked),
    }),
  ],
  after: [
    harnessScenario<Shared>({
      name: "holes/never-registered/after",
      summary: "the same, but each return undoes what was done, and no more",
      ...parts,
      tasks: tasks(open),
    }),
  ],
};
