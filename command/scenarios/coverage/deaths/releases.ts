/**
 * @module A thread that dies in the end of a space, or while it unregisters a listener, at any
 * step: a release that it had begun is called again by the other of the two, or by who takes the
 * space down for it (N6 of notifier/mmu-notifier.ts). So the device has let go before its frame is
 * given back. In the twin the release counts as over before it is.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { notifierSrcu, registerNotifierOps } from "../../../../src/notifier/mmu-notifier.ts";
import { CLAIM_OURS } from "../../../../src/notifier/subscriptions.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, coveringOnHarness } from "../on-harness.ts";
import { Listener, letGo, listening, unregister } from "../notifier/listener.ts";

/** Who is called may be called again. */
const AGAIN_OPS: number = registerNotifierOps("covered listener that lets go again", {
  release: (machine, at) => letGo(machine, Listener.at(machine.memory, at)),
  isRepeatable: true,
});

/** The set-up's user is dropped: the last one. */
const exit: HarnessBody<Listener> = (_listener, { machine, mm }) => mmput(machine, mm);

const go: HarnessBody<Listener> = (listener, harness) => unregister(harness, listener);

/** Says that the release is over, and then makes it. */
function* releaseTooLate({ node }: Listener, { machine }: HmmHarness): Task<void> {
  const srcu = yield* notifierSrcu(machine);
  const section = yield* srcu.readLock();
  const isOurs = (yield* node.claimRelease()) === CLAIM_OURS;
  if (isOurs) yield* node.setReleased();
  if (isOurs) yield* letGo(machine, Listener.at(machine.memory, node.at));
  yield* srcu.readUnlock(section);
}

const exitTooLate: HarnessBody<Listener> = function* (listener, harness) {
  yield* releaseTooLate(listener, harness);
  yield* mmput(harness.machine, harness.mm);
};

const goTooLate: HarnessBody<Listener> = function* (listener, harness) {
  yield* releaseTooLate(listener, harness);
  yield* unregister(harness, listener);
};

function dying(
  name: string,
  dies: "exit" | "go",
  summary: string,
  tooLate: HarnessBody<Listener>,
): Covered {
  return coveringOnHarness<Listener>({
    layer: "notifier",
    name: `death/${name}`,
    summary,
    harness: { pages: 1 },
    exploration: { engine: "bounded", preemptions: 1, deaths: 1 },
    killable: [dies],
    mustSurvive: true,
    setup: (harness) => listening(harness, AGAIN_OPS),
    tasks: {
      exit: [["notifier/mmu-notifier.mmuNotifierRelease", "mm/lifetime/mm.mmput"], exit],
      go: [
        ["notifier/mmu-notifier.mmuNotifierUnregister", "notifier/mmu-notifier.releaseOnce"],
        go,
      ],
    },
    check(listener, { mm }) {
      assert(mm.users.read() > 0 || mm.pgd === 0, "the space is not taken down");
      const isOver = mm.users.read() === 0 || dies === "exit";
      assert(!isOver || listener.released.read() > 1, "the device has not let go");
    },
    twins: [
      [
        "too-late",
        "The release counts as over before it is called.",
        "assertion",
        { [dies]: tooLate },
      ],
    ],
  });
}

export const deathsInReleases: readonly Covered[] = [
  dying(
    "exit-vs-unregister",
    "exit",
    "A thread dies at any step of the end of a space, while another unregisters a listener.",
    exitTooLate,
  ),
  dying(
    "unregister-vs-exit",
    "go",
    "A thread dies at any step of unregistering a listener, while another ends the space.",
    goTooLate,
  ),
];
