/**
 * @module The primitives of sync/ access by access: the scenarios of this folder again, with the
 * inside of each primitive explored. A lock is then not one step, but a loop with its
 * compare-exchange, its mark that somebody sleeps, its sleep and its wake. The code is the shipped
 * one, with the stepping forms of the build (scripts/stepping/rewrite.mjs, D4). So these scenarios
 * show that an operation that other scenarios take as one step behaves as one.
 */

import { defineScenario } from "../../../../src/checker/scenario.ts";
import type { AnyScenario, ScenarioExploration } from "../../../../src/checker/scenario.ts";
import type { Covered } from "../covered.ts";
import { lifetimes } from "./lifetimes.ts";
import { locks } from "./locks.ts";
import { waits } from "./waiting.ts";

const COMPLETE: ScenarioExploration = {};
/**
 * To the end, but without spurious wakes: with one for each wait of these loops there are 2.7
 * million classes.
 */
const UNDISTURBED: ScenarioExploration = { spuriousWakes: 0 };
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 2 };

/**
 * A wait for the end of a store is a loop of rechecks, which ends only with a fair scheduler.
 */
const SAMPLED: ScenarioExploration = { engine: "random", executions: 1500 };

/** How far these scenarios are explored, and the functions inside the primitive that they run. */
const spelled: Readonly<Record<string, readonly [ScenarioExploration, readonly string[]]>> = {
  "coverage/sync/mutex": [
    UNDISTURBED,
    [
      "sync/primitives/lock-word.lockContended",
      "sync/primitives/lock-word.take",
      "sync/primitives/lock-word.release",
    ],
  ],
  "coverage/sync/spinlock": [
    UNDISTURBED,
    ["sync/primitives/lock-word.lockContended", "sync/primitives/lock-word.spinWhileTaken"],
  ],
  "coverage/sync/rwsem": [
    BOUNDED,
    [
      "sync/primitives/rwsem.queueRead",
      "sync/primitives/rwsem.queueWrite",
      "sync/primitives/rwsem-steps.leaveWrite",
      "sync/words/rwsem-words.wakeForState",
    ],
  ],
  "coverage/sync/rwsem-try": [
    COMPLETE,
    ["sync/primitives/rwsem-steps.tryEnterRead", "sync/primitives/rwsem-steps.tryEnterWrite"],
  ],
  "coverage/sync/wait-queue": [
    BOUNDED,
    ["sync/primitives/wait-queue.waitSlow", "sync/primitives/wait-queue.wake"],
  ],
  "coverage/sync/wake-one": [
    BOUNDED,
    ["sync/primitives/wait-queue.waitSlow", "sync/primitives/wait-queue.wake"],
  ],
  "coverage/sync/completion-each": [
    BOUNDED,
    ["sync/primitives/completion.take", "sync/primitives/completion.addOne"],
  ],
  "coverage/sync/completion-all": [
    BOUNDED,
    ["sync/primitives/completion.take", "sync/primitives/completion.addAll"],
  ],
  "coverage/sync/seqcount": [
    COMPLETE,
    ["sync/primitives/seqcount.readBeginSlow", "sync/primitives/seqcount.step"],
  ],
  "coverage/sync/refcount": [
    COMPLETE,
    ["sync/primitives/refcount.incrementNotZero", "sync/primitives/refcount.decrement"],
  ],
  "coverage/sync/one-wake": [
    UNDISTURBED,
    ["sync/primitives/wait-queue.waitSlow", "sync/primitives/wait-queue.wake"],
  ],
  "coverage/sync/seqcount-asleep": [
    BOUNDED,
    ["sync/primitives/seqcount.readBeginSlow", "sync/primitives/seqcount.step"],
  ],
  "coverage/sync/words": [COMPLETE, ["sync/primitives/word-steps.compareExchangeWord"]],
  "coverage/sync/saturated": [
    COMPLETE,
    ["sync/primitives/refcount.increment", "sync/primitives/refcount.decrement"],
  ],
  "coverage/sync/shootdown": [
    SAMPLED,
    ["sync/primitives/shootdown.waitForStores", "sync/primitives/shootdown.bump"],
  ],
  "coverage/sync/srcu-two": [
    BOUNDED,
    ["sync/words/srcu-words.advanceGracePeriods", "sync/words/srcu-words.requestGracePeriod"],
  ],
  "coverage/sync/srcu-barriers": [
    { ...BOUNDED, preemptions: 1 },
    ["sync/primitives/srcu.runCall", "sync/primitives/srcu-callbacks.advanceCalls"],
  ],
  "coverage/sync/srcu-callers": [
    BOUNDED,
    ["sync/primitives/srcu.countCall", "sync/primitives/srcu.setPending"],
  ],
  "coverage/sync/srcu": [
    BOUNDED,
    [
      "sync/words/srcu-words.advanceGracePeriods",
      "sync/words/srcu-words.nextState",
      "sync/primitives/srcu.waitForGracePeriod",
    ],
  ],
};

function spellOut(scenario: AnyScenario, exploration: ScenarioExploration): AnyScenario {
  // Who waits for a completion for ever is asleep now.
  const expects = scenario.expects === "deadlock" ? "lost-wakeup" : scenario.expects;
  return defineScenario({
    ...scenario,
    ...(expects === undefined ? {} : { expects }),
    name: scenario.name.replace("coverage/sync/", "coverage/sync/spelled-out/"),
    exploration: { ...scenario.exploration, ...exploration, spelledOut: true },
  });
}

export const spelledOut: readonly Covered[] = [...locks, ...waits, ...lifetimes].flatMap(
  (covered) => {
    const [exploration, runs] = spelled[covered.scenario.name] ?? [];
    if (exploration === undefined || runs === undefined) return [];
    const [first = ""] = Object.keys(covered.runs);
    return {
      layer: covered.layer,
      scenario: spellOut(covered.scenario, exploration),
      twins: covered.twins.map((twin) => spellOut(twin, exploration)),
      runs: { ...covered.runs, [first]: [...(covered.runs[first] ?? []), ...runs] },
    };
  },
);
