/**
 * @module Several listeners of one space: they come and go beside each other in the list, one
 * refuses what another one has agreed to, and one comes a second time.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  type HarnessScenario,
  harnessScenario,
} from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { mmdrop, mmput } from "../../../../src/mm/lifetime/mm.ts";
import { mmuNotifierUnregisterNoRelease } from "../../../../src/notifier/mmu-notifier.ts";
import { EAGAIN } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  Listener,
  REFUSING_OPS,
  invalidate,
  listening,
  newListener,
  register,
  unregister,
} from "./listener.ts";

/** In the order in which they registered, or will. */
type World = readonly Listener[];

function nth(world: World, i: number): Listener {
  const listener = world[i];
  assert(listener !== undefined, "there are not so many listeners");
  return listener;
}

/** Those who are in the list in the end, in its order: the latest first. */
function requireList(wanted: readonly Listener[]): void {
  for (const [i, { node, inside }] of wanted.entries()) {
    const names = `${node.prev()} and ${node.nextLocked()}`;
    const [before, after] = [wanted[i - 1], wanted[i + 1]];
    assert(
      node.isLinked() && node.prev() === (before?.at ?? 0),
      `listener ${i} of the list is between ${names}`,
    );
    assert(node.nextLocked() === (after?.at ?? 0), `listener ${i} of the list is between ${names}`);
    assert(inside.read() === 1, "an invalidation is under way for ever");
  }
}

function* leaveAndFree(harness: HmmHarness, listener: Listener): Task<void> {
  yield* unregister(harness, listener);
  yield* harness.machine.heap.free(Listener, listener.at);
}

const REGISTER = ["notifier/mmu-notifier.mmuNotifierRegister", "notifier/subscriptions.link"];
const UNREGISTER = ["notifier/mmu-notifier.mmuNotifierUnregister", "notifier/subscriptions.unlink"];
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2 };

type Parts = Pick<HarnessScenario<World>, "name" | "summary" | "setup" | "tasks"> &
  Partial<HarnessScenario<World>>;

const several = (parts: Parts, runs: Covered["runs"], twins: Covered["twins"] = []): Covered => ({
  layer: "notifier",
  scenario: harnessScenario<World>({
    harness: { pages: 1 },
    ...parts,
    name: `coverage/notifier/${parts.name}`,
  }),
  twins,
  runs,
});

const comeBesideGo: Covered = several(
  {
    name: "register-vs-unregister",
    summary:
      "A listener registers while the one that would come behind it in the list unregisters.",
    setup: (harness) => [listening(harness), listening(harness), newListener(harness)],
    tasks: {
      *come(world, harness) {
        yield* register(harness, nth(world, 2));
        assert((yield* invalidate(harness)) === 0, "a start that may block is refused");
        assert(nth(world, 2).heard.read() === 2, "a listener that has just come is not told");
      },
      go: (world, harness) => leaveAndFree(harness, nth(world, 1)),
    },
    exploration: BOUNDED,
    check: (world) => requireList([nth(world, 2), nth(world, 0)]),
  },
  { come: REGISTER, go: UNREGISTER },
);

const goBesideGo: Covered = several(
  {
    name: "unregister-vs-unregister",
    summary: "Two listeners unregister that are neighbours in the list, between two that stay.",
    setup: (harness) => [
      listening(harness),
      listening(harness),
      listening(harness),
      listening(harness),
    ],
    tasks: {
      first: (world, harness) => leaveAndFree(harness, nth(world, 1)),
      second: (world, harness) => leaveAndFree(harness, nth(world, 2)),
    },
    exploration: BOUNDED,
    check: (world) => requireList([nth(world, 3), nth(world, 0)]),
  },
  { first: UNREGISTER, second: UNREGISTER },
);

/** Somebody who may not wait. */
function* reap(_world: World, harness: HmmHarness): Task<void> {
  const answer = yield* invalidate(harness, false);
  assert(answer === EAGAIN, `the start was answered ${answer}`);
}

/** Gives the listener's memory back although call-backs may run. */
function* leaveAtOnce(harness: HmmHarness, listener: Listener): Task<void> {
  const { machine, mm } = harness;
  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, listener.node);
  yield* machine.heap.free(Listener, listener.at);
  yield* mmdrop(machine, mm);
}

const refusal: Omit<Parts, "tasks"> = {
  name: "refused-vs-unregister",
  summary:
    "One listener refuses what another one has agreed to, who unregisters meanwhile, and is told the end of it.",
  setup: (harness) => [listening(harness, REFUSING_OPS), listening(harness), listening(harness)],
  check: (world) => requireList([nth(world, 1), nth(world, 0)]),
};

const refused: Covered = several(
  { ...refusal, tasks: { reap, go: (world, harness) => leaveAndFree(harness, nth(world, 2)) } },
  { reap: ["notifier/mmu-notifier.mmuNotifierInvalidateRangeStart"], go: UNREGISTER },
  [
    harnessScenario<World>({
      ...refusal,
      harness: { pages: 1 },
      name: "coverage/notifier/refused-vs-unregister/frees-at-once",
      expects: "use-after-free",
      tasks: { reap, go: (world, harness) => leaveAtOnce(harness, nth(world, 2)) },
    }),
  ],
);

const secondLife: Covered = several(
  {
    name: "second-life",
    summary:
      "A listener unregisters and registers again in the same memory: it hears, and is released, once more.",
    setup: (harness) => [newListener(harness)],
    tasks: {
      *listener(world, harness) {
        const listener = nth(world, 0);
        for (const times of [1, 2]) {
          yield* register(harness, listener);
          assert((yield* invalidate(harness)) === 0, "a start that may block is refused");
          yield* unregister(harness, listener);
          assert(
            listener.heard.read() === 1 + times,
            "a registered listener is not told, or one that has gone is",
          );
          assert(listener.released.read() === 1 + times, "a listener was not released once");
          assert((yield* invalidate(harness)) === 0, "a start that may block is refused");
        }
        assert(listener.inside.read() === 1, "an invalidation is under way for ever");
        yield* harness.machine.heap.free(Listener, listener.at);
      },
    },
  },
  { listener: [...REGISTER, ...UNREGISTER] },
);

/** The unmapping of an exit tells nobody (mmuNotifierRelease). */
const exit: Covered = several(
  {
    name: "exit-with-two",
    summary: "A space dies that has two listeners: each is released, and hears nothing any more.",
    setup: (harness) => [listening(harness), listening(harness)],
    tasks: { exit: (_world, { machine, mm }) => mmput(machine, mm) },
    check: (world) => {
      for (const { node, heard, released } of world) {
        assert(released.read() === 2, "a listener was not released once");
        assert(!node.isLinked(), "a listener of a dead space is linked");
        assert(heard.read() === 1, "a listener hears of the unmapping");
      }
    },
  },
  { exit: ["mm/lifetime/mm.mmExit", "notifier/mmu-notifier.mmuNotifierRelease"] },
);

export const severalListeners: readonly Covered[] = [
  comeBesideGo,
  goBesideGo,
  refused,
  secondLife,
  exit,
];
