/**
 * @module Patch 9: a guard against unregistering twice that guarded nothing.
 *
 *     close                                          close too
 *                                                    reads mirror->hmm: not null
 *     reads mirror->hmm: not null
 *     unlinks the mirror, clears mirror->hmm
 *     drops the last reference: the hmm is freed
 *                                                    locks hmm->mirrors_sem, in freed memory
 */

import { type HmmHarness, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm } from "../../../src/hmm/hmm-struct.ts";
import { hmmPut } from "../../../src/hmm/mirror/hmm.ts";
import { HmmMirrorRecord } from "../../../src/hmm/mirror-record.ts";
import { AssertionFailure, assert } from "../../../src/sync/errors.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { deviceOf } from "./stage.ts";

const HMM: number = HmmMirrorRecord.offset.hmm;

function* oldUnregister(
  { record: { mirror } }: HarnessDevice,
  { machine }: HmmHarness,
): Task<void> {
  yield* access(machine.memory, "read", mirror.at + HMM, 1, "mirror->hmm");
  if (mirror.hmm === 0) return; // "unregistered already"
  const hmm = Hmm.at(machine.memory, mirror.hmm);
  yield* hmm.mirrorsSem.downWrite();
  mirror.node.del();
  yield* access(machine.memory, "write", mirror.at + HMM, 1, "mirror->hmm");
  mirror.hmm = 0;
  yield* hmm.mirrorsSem.upWrite();
  yield* hmmPut(machine, hmm);
}

interface Count {
  readonly device: HarnessDevice;
  /** Who was told that he was wrong. */
  told: number;
}

/** The shipped way to be wrong: one call does it, every other one is an assertion. */
function* unregister(count: Count): Task<void> {
  try {
    yield* count.device.unregister();
  } catch (error) {
    assert(
      error instanceof AssertionFailure && error.message.startsWith("Cannot unregister hmm mirror"),
      String(error),
    );
    count.told++;
  }
}

const CLOSE = 0;

const before: AnyScenario = harnessScenario({
  name: "patches/09/before",
  summary:
    "two threads unregister one mirror: both pass the guard, and the second uses an hmm that has been freed",
  expects: "use-after-free",
  harness: { pages: 0 },
  setup: (harness) => deviceOf(harness, CLOSE),
  tasks: { close: oldUnregister, closeToo: oldUnregister },
});

const after: AnyScenario = harnessScenario<Count>({
  name: "patches/09/after",
  summary: "two threads unregister one mirror: one of them does it, and the other is told, always",
  harness: { pages: 0 },
  setup: (harness) => ({ device: deviceOf(harness, CLOSE), told: 0 }),
  tasks: { close: unregister, closeToo: unregister },
  check({ told }) {
    assert(told === 1, `${told} of two callers were told that they were wrong`);
  },
  reopen(count) {
    count.told = 0;
  },
});

export const doubleUnregister: Exhibit = {
  id: "patches/09",
  title: "A guard against unregistering twice that guarded nothing",
  was: `
\`hmm_mirror_unregister\` read \`mirror->hmm\`, returned if it was null, and set it to null once the mirror was off the list.
It looks like protection against a second call.`,
  wrong: `
It protects only against a second call that comes later. Two at the same time both read the pointer before either has
cleared it; one takes the mirror off and drops the last reference, and the other goes on with freed memory. And the second
call that comes later is a defect of the driver as well, which now nobody hears of.`,
  now: `
The patch took the guard away: exactly one unregister for each register is the caller's duty, and breaking it is as bad as
freeing twice. What ships here goes one step further, as it costs next to nothing: whether a mirror is registered is a word
under a lock of its own. One caller finds it registered and goes on; every other call is an assertion that says which mirror,
and whether it was unregistered already, was never registered, or belongs to another thread.`,
  before: [before],
  after: [after],
};
