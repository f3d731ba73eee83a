/**
 * @module A listener that comes to its end while it is called: by unregister, by an unregister that
 * does not wait, by the end of the address space.
 */

import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import { harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness, HarnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { Machine } from "../../../../src/memory/machine.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import {
  mmuNotifierUnregisterNoRelease,
  notifierSrcu,
} from "../../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { registerSrcuCallback } from "../../../../src/sync/primitives/srcu-callbacks.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { Listener, invalidate, listening, unregister } from "./listener.ts";

const freeLater: number = registerSrcuCallback(
  "coverage: free listener",
  function* (memory, head, slot) {
    yield* Machine.of(memory).heap.free(Listener, head - Listener.offset.call, slot);
  },
);

interface World {
  readonly listener: Listener;
}

const makeWorld = (harness: HmmHarness): World => ({ listener: listening(harness) });

const invalidateOnce = (_world: World, harness: HmmHarness): Task<number> => invalidate(harness);

function* unregisterAndFree({ listener }: World, harness: HmmHarness): Task<void> {
  yield* unregister(harness, listener);
  assert(listener.released.read() === 2, "the listener was not released once");
  yield* harness.machine.heap.free(Listener, listener.at);
}

function* leave({ listener }: World, { machine, mm }: HmmHarness, defers: boolean): Task<void> {
  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, listener.node);
  if (defers) yield* (yield* notifierSrcu(machine)).call(freeLater, listener.call.at);
  else yield* machine.heap.free(Listener, listener.at);
}

const INVALIDATE = [
  "notifier/mmu-notifier.mmuNotifierInvalidateRangeStart",
  "notifier/mmu-notifier.mmuNotifierInvalidateRangeEnd",
] as const;

interface Parts extends Pick<HarnessScenario<World>, "tasks" | "summary" | "exploration"> {
  readonly expects?: FindingKind;
}

function listenerScenario(name: string, parts: Parts): AnyScenario {
  return harnessScenario<World>({
    ...parts,
    name: `coverage/notifier/${name}`,
    harness: { pages: 1 },
    setup: makeWorld,
    check: (_world, harness) =>
      assert(!harness.accounting().includes("coveredListener"), "the listener was not freed"),
  });
}

export const listeners: readonly Covered[] = [
  {
    layer: "notifier",
    scenario: listenerScenario("unregister-vs-invalidate", {
      summary: "A listener is unregistered and freed while an invalidation calls it.",
      tasks: { invalidate: invalidateOnce, unregister: unregisterAndFree },
    }),
    twins: [
      listenerScenario("unregister-vs-invalidate/frees-at-once", {
        summary: "It is taken off the list and freed without waiting for those who call it.",
        expects: "use-after-free",
        tasks: {
          invalidate: invalidateOnce,
          unregister: (world, harness) => leave(world, harness, false),
        },
      }),
    ],
    runs: {
      invalidate: INVALIDATE,
      unregister: ["notifier/mmu-notifier.mmuNotifierUnregister", "mm/lifetime/mm.mmdrop"],
    },
  },
  {
    layer: "notifier",
    scenario: listenerScenario("two-invalidate", {
      summary: "Two invalidations call a listener that is unregistered and freed.",
      exploration: { engine: "bounded", preemptions: 2 },
      tasks: {
        invalidate: invalidateOnce,
        "invalidate 2": invalidateOnce,
        unregister: unregisterAndFree,
      },
    }),
    twins: [],
    runs: {
      invalidate: INVALIDATE,
      "invalidate 2": INVALIDATE,
      unregister: ["notifier/mmu-notifier.mmuNotifierUnregister", "mm/lifetime/mm.mmdrop"],
    },
  },
  {
    layer: "notifier",
    scenario: listenerScenario("leave-vs-invalidate", {
      summary:
        "A listener leaves without waiting, and a deferred call frees it when nobody calls it any more.",
      tasks: { invalidate: invalidateOnce, leave: (world, harness) => leave(world, harness, true) },
    }),
    twins: [],
    runs: {
      invalidate: INVALIDATE,
      leave: ["notifier/mmu-notifier.mmuNotifierUnregisterNoRelease", "sync/primitives/srcu.call"],
    },
  },
  {
    layer: "notifier",
    scenario: listenerScenario("unregister-vs-exit", {
      summary:
        "A listener is unregistered while the address space dies: it is released once, and nobody calls it after.",
      tasks: {
        exit: (_world, { machine, mm }) => mmput(machine, mm),
        unregister: unregisterAndFree,
      },
    }),
    twins: [],
    runs: {
      exit: ["mm/lifetime/mm.mmput", "notifier/mmu-notifier.mmuNotifierRelease"],
      unregister: ["notifier/mmu-notifier.mmuNotifierUnregister", "mm/lifetime/mm.mmdrop"],
    },
  },
];
