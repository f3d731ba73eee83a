/**
 * @module Seeded bugs in what a device sees: translations that are not true any more, and loops
 * that get nowhere.
 */

import { OperationHistory } from "../../../src/checker/watch/linearizability.ts";
import type { SequentialModel } from "../../../src/checker/watch/linearizability.ts";
import { Cell } from "../../../src/checker/primitives/program.ts";
import { HARNESS_PAGE } from "../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { HarnessService } from "../../../src/checker/harness/harness-device.ts";
import { useTranslation } from "../../../src/checker/watch/translations.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { DEFAULT_ENCODING, entryPfn } from "../../../src/hmm/entry.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { mmgetNotZero } from "../../../src/mm/lifetime/mm.ts";
import { DONE_TRUE } from "../../../src/sync/tasks/task.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { discard } from "./discard.ts";
import { twins } from "./twins.ts";

/** What a driver that does not ask takes for the answer. */
const unasked: HarnessService = { isValid: () => DONE_TRUE };

function* serveAndUse(
  device: HarnessDevice,
  { machine, mm }: HmmHarness,
  options: HarnessService,
): Task<void> {
  yield* device.serve(HARNESS_PAGE, 1, options);
  yield* device.driverLock.lock();
  const entry = device.entry(HARNESS_PAGE);
  const frame = entryPfn(entry, DEFAULT_ENCODING);
  if (entry !== 0) yield* useTranslation(machine, mm, { page: HARNESS_PAGE, frame });
  yield* device.driverLock.unlock();
}

/** The rule of R4: under the driver lock, ask whether an invalidation has come since. */
const stale = twins<HarnessDevice>("stale-translation", (isBroken) => ({
  summary:
    "a device reaches a page through what its driver put into its table, while the page is taken away",
  harness: { pages: 1 },
  exploration: { engine: "bounded", preemptions: 2 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    device: (device, harness) => serveAndUse(device, harness, isBroken ? unasked : {}),
    discard: (_device, harness) => discard(harness),
  },
}));

const incoherent = twins<HarnessDevice>("assertion", (isBroken) => ({
  summary: "what the device's table names in the end is what the CPU's page table names",
  harness: { pages: 1 },
  exploration: { engine: "bounded", preemptions: 2 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    device: (device) => device.serve(HARNESS_PAGE, 1, isBroken ? unasked : {}),
    discard: (_device, harness) => discard(harness),
  },
  check: (device) => device.requireCoherent(),
}));

/** While nothing is in flight and nobody holds the driver lock, the two tables agree. */
const violated = twins<HarnessDevice>("invariant", (isBroken) => ({
  summary:
    "whenever nothing is in flight, the device's table names what the CPU's page table names",
  harness: { pages: 1 },
  exploration: { engine: "bounded", preemptions: 2 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    device: (device) => device.serve(HARNESS_PAGE, 1, isBroken ? unasked : {}),
    discard: (_device, harness) => discard(harness),
  },
  invariants: [
    {
      name: "the tables agree",
      words(device) {
        const { machine, mm } = device.harness;
        const { rangesLock } = Hmm.at(machine.memory, mm.hmm);
        return [
          { at: device.driverLock.at, words: 1 },
          { at: rangesLock.at, words: 1 },
        ];
      },
      holds(device) {
        const { machine, mm } = device.harness;
        const hmm = Hmm.at(machine.memory, mm.hmm);
        if (device.driverLock.isLocked() || hmm.rangesLock.isLocked() || hmm.notifiers > 0) return;
        device.requireCoherent();
      },
    },
  ],
}));

interface Counted {
  readonly history: OperationHistory;
}

/**
 * Users of an address space, one after the other: a get succeeds above 0, a put says whether it was
 * the last.
 */
const users: SequentialModel<number> = {
  initial: 1,
  step(state, { name, output }) {
    if (name === "get") return output === state > 0 ? state + Number(output) : undefined;
    return output === (state === 1) && state > 0 ? state - 1 : undefined;
  },
};

/** Get-unless-zero that reads first and adds later. */
function* getInTwoSteps({ machine, mm }: HmmHarness): Task<boolean> {
  const count = new Cell(machine.memory, mm.users.at, "mm users");
  const seen = yield* count.load();
  if (seen === 0) return false;
  yield* count.store(seen + 1);
  return true;
}

const torn = twins<Counted>("not-linearizable", (isBroken) => ({
  summary: "two threads take users of one address space, with a get-unless-zero that is two steps",
  harness: { pages: 0 },
  setup(harness) {
    const at = harness.run(harness.machine.heap.allocWords(512));
    return { history: new OperationHistory(harness.machine.memory, at, users) };
  },
  tasks: Object.fromEntries(
    ["one", "two"].map((name) => [
      name,
      function* ({ history }: Counted, harness: HmmHarness): Task<void> {
        const take = (): Task<boolean> =>
          isBroken ? getInTwoSteps(harness) : mmgetNotZero(harness.mm);
        if (yield* history.call("get", undefined, take)) {
          yield* history.call("put", undefined, () => harness.mm.users.put());
        }
      },
    ]),
  ),
}));

interface Handing {
  readonly device: HarnessDevice;
  readonly mapped: Cell;
}

/**
 * Who takes the page away waits until the device has it, the device until it is taken away: for
 * ever, or once.
 */
const pingPong = twins<Handing>("livelock", (isBroken) => ({
  summary: "a device takes a page as soon as it is free, a reclaimer as soon as the device has it",
  harness: { pages: 0 },
  setup(harness) {
    const at = harness.run(harness.machine.heap.allocWords(512));
    return {
      device: HarnessDevice.registered(harness),
      mapped: new Cell(harness.machine.memory, at, "mapped"),
    };
  },
  tasks: {
    *device({ device, mapped }) {
      for (;;) {
        yield* mapped.waitWhile(1);
        yield* device.driverLock.lock();
        yield* device.driverLock.unlock();
        yield* mapped.store(1);
        if (!isBroken) return;
      }
    },
    *reclaim({ device, mapped }) {
      for (;;) {
        yield* mapped.waitWhile(0);
        yield* device.driverLock.lock();
        HarnessDevice.sweep(device.record, { startPage: HARNESS_PAGE, endPage: HARNESS_PAGE + 1 });
        yield* device.driverLock.unlock();
        yield* mapped.store(0);
        if (!isBroken) return;
      }
    },
  },
}));

/** Polling instead of waiting. */
const polling = twins<HarnessDevice>("endless", (isBroken) => ({
  summary:
    "a fault loop looks again and again whether an invalidation has ended, and does not wait for it",
  harness: { pages: 0 },
  exploration: { maxSteps: 100 },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    *fault(_device, { machine, mm }) {
      const { wq, at } = Hmm.at(machine.memory, mm.hmm);
      const inFlight = new Cell(machine.memory, at + Hmm.offset.notifiers, "notifiers");
      if (!isBroken) yield* wq.waitEvent(() => inFlight.peek() !== 0);
      else while ((yield* inFlight.load()) === 0);
    },
    *start(_device, { machine, mm }) {
      const { wq, at } = Hmm.at(machine.memory, mm.hmm);
      yield* new Cell(machine.memory, at + Hmm.offset.notifiers, "notifiers").store(1);
      yield* wq.wakeAll();
    },
  },
}));

export const translations: readonly AnyScenario[] = [
  ...stale,
  ...incoherent,
  ...violated,
  ...torn,
  ...pingPong,
  ...polling,
];
