/** @module A listener that comes to its end while it is called: by unregister, by an unregister that does not wait, by the end of the address space. */

import type { FindingKind } from "../../../src/checker/findings/finding.ts";
import { RIG_PAGE, rigScenario } from "../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig, RigScenario } from "../../../src/checker/rig/hmm-rig.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Machine } from "../../../src/memory/machine.ts";
import { type Struct, type StructView, array, embed, struct } from "../../../src/memory/struct.ts";
import type { WordArray } from "../../../src/memory/struct.ts";
import { mmdrop, mmgrab, mmput } from "../../../src/mm/mm.ts";
import { invalidateRange } from "../../../src/mm/zap.ts";
import { EVENT_CLEAR } from "../../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierRegister,
  mmuNotifierUnregister,
  mmuNotifierUnregisterNoRelease,
  notifierSrcu,
  registerNotifierOps,
} from "../../../src/notifier/mmu-notifier.ts";
import { MmuNotifier } from "../../../src/notifier/subscriptions.ts";
import { assert } from "../../../src/sync/errors.ts";
import { RefCount } from "../../../src/sync/refcount.ts";
import { SRCU_CALL_WORDS, registerSrcuCallback } from "../../../src/sync/srcu-callbacks.ts";
import type { Task } from "../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";

interface Listener extends StructView {
  readonly node: MmuNotifier;
  readonly call: WordArray;
  readonly inside: RefCount;
  readonly released: RefCount;
}
const Listener: Struct<Listener> = struct<Listener>("coveredListener", {
  node: embed(MmuNotifier, "first field"),
  call: array(SRCU_CALL_WORDS, "itself", "for the deferred free"),
  inside: embed(RefCount, "1, and one for each invalidation that is under way"),
  released: embed(RefCount, "1, and one for each release"),
});

const OPS: number = registerNotifierOps("covered listener", {
  *invalidateRangeStart(machine: Machine, at: number): Task<number> {
    yield* Listener.at(machine.memory, at).inside.get();
    return 0;
  },
  *invalidateRangeEnd(machine: Machine, at: number): Task<void> {
    const isLast = yield* Listener.at(machine.memory, at).inside.put();
    assert(!isLast, "a listener hears an end whose start it missed");
  },
  *release(machine: Machine, at: number): Task<void> {
    const { released } = Listener.at(machine.memory, at);
    yield* released.get();
    assert(released.read() === 2, "a listener is released twice");
  },
});

const freeLater: number = registerSrcuCallback("coverage: free listener", function* (memory, head) {
  yield* Machine.of(memory).heap.free(Listener, head - Listener.offset.call);
});

interface World {
  readonly listener: Listener;
}

function makeWorld(rig: HmmRig): World {
  const { machine, mm } = rig;
  const listener = Listener.at(machine.memory, rig.run(machine.heap.alloc(Listener)));
  listener.inside.init(1);
  listener.released.init(1);
  rig.run(mmgrab(mm));
  rig.run(
    (function* (): Task<void> {
      yield* mm.mmapLock.downWrite();
      yield* mmuNotifierRegister(machine, mm.notifiers, listener.node, OPS);
      yield* mm.mmapLock.upWrite();
    })(),
  );
  return { listener };
}

function* invalidate(_world: World, { machine, mm }: HmmRig): Task<void> {
  const range = invalidateRange(mm, RIG_PAGE, RIG_PAGE + 1, EVENT_CLEAR);
  yield* mm.mmapLock.downRead();
  yield* mmuNotifierInvalidateRangeStart(machine, range);
  yield* mmuNotifierInvalidateRangeEnd(machine, range);
  yield* mm.mmapLock.upRead();
}

function* unregister({ listener }: World, { machine, mm }: HmmRig): Task<void> {
  yield* mmuNotifierUnregister(machine, mm.notifiers, listener.node);
  assert(listener.released.read() === 2, "the listener was not released");
  yield* machine.heap.free(Listener, listener.at);
  yield* mmdrop(machine, mm);
}

function* leave({ listener }: World, { machine, mm }: HmmRig, defers: boolean): Task<void> {
  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, listener.node);
  if (defers) yield* (yield* notifierSrcu(machine)).call(freeLater, listener.call.at);
  else yield* machine.heap.free(Listener, listener.at);
}

const INVALIDATE = [
  "notifier/mmu-notifier.mmuNotifierInvalidateRangeStart",
  "notifier/mmu-notifier.mmuNotifierInvalidateRangeEnd",
] as const;

interface Parts extends Pick<RigScenario<World>, "tasks" | "summary" | "exploration"> {
  readonly expects?: FindingKind;
}

function listenerScenario(name: string, parts: Parts): AnyScenario {
  return rigScenario<World>({
    ...parts,
    name: `coverage/notifier/${name}`,
    rig: { pages: 1 },
    setup: makeWorld,
    check: (_world, rig) => assert(!rig.books().includes("coveredListener"), "the listener was not freed"),
  });
}

export const listeners: readonly Covered[] = [
  {
    layer: "notifier",
    scenario: listenerScenario("unregister-vs-invalidate", {
      summary: "A listener is unregistered and freed while an invalidation calls it.",
      tasks: { invalidate, unregister },
    }),
    twins: [
      listenerScenario("unregister-vs-invalidate/frees-at-once", {
        summary: "It is taken off the list and freed without waiting for those who call it.",
        expects: "use-after-free",
        tasks: { invalidate, unregister: (world, rig) => leave(world, rig, false) },
      }),
    ],
    runs: { invalidate: INVALIDATE, unregister: ["notifier/mmu-notifier.mmuNotifierUnregister", "mm/mm.mmdrop"] },
  },
  {
    layer: "notifier",
    scenario: listenerScenario("two-invalidate", {
      summary: "Two invalidations call a listener that is unregistered and freed.",
      exploration: { engine: "bounded", preemptions: 2 },
      tasks: { invalidate, "invalidate 2": invalidate, unregister },
    }),
    twins: [],
    runs: {
      invalidate: INVALIDATE,
      "invalidate 2": INVALIDATE,
      unregister: ["notifier/mmu-notifier.mmuNotifierUnregister", "mm/mm.mmdrop"],
    },
  },
  {
    layer: "notifier",
    scenario: listenerScenario("leave-vs-invalidate", {
      summary: "A listener leaves without waiting, and a deferred call frees it when nobody calls it any more.",
      tasks: { invalidate, leave: (world, rig) => leave(world, rig, true) },
    }),
    twins: [],
    runs: { invalidate: INVALIDATE, leave: ["notifier/mmu-notifier.mmuNotifierUnregisterNoRelease", "sync/srcu.call"] },
  },
  {
    layer: "notifier",
    scenario: listenerScenario("unregister-vs-exit", {
      summary:
        "A listener is unregistered while the address space dies: it is released once, and nobody calls it after.",
      tasks: { exit: (_world, { machine, mm }) => mmput(machine, mm), unregister },
    }),
    twins: [],
    runs: {
      exit: ["mm/mm.mmput", "notifier/mmu-notifier.mmuNotifierRelease"],
      unregister: ["notifier/mmu-notifier.mmuNotifierUnregister", "mm/mm.mmdrop"],
    },
  },
];
