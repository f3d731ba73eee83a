/**
 * @module Patch 9: a guard against unregistering twice that did not protect.
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
  /** Calls that threw. */
  refused: number;
}

/** With the shipped code one call succeeds, and every other one is an assertion. */
function* unregister(count: Count): Task<void> {
  try {
    yield* count.device.unregister();
  } catch (error) {
    assert(
      error instanceof AssertionFailure && error.message.startsWith("Cannot unregister hmm mirror"),
      String(error),
    );
    count.refused++;
  }
}

const CLOSE = 0;

const before: AnyScenario = harnessScenario({
  name: "patches/09/before",
  summary:
    "two threads unregister one mirror: both pass the guard, and the second uses a freed hmm",
  expects: "use-after-free",
  harness: { pages: 0 },
  setup: (harness) => deviceOf(harness, CLOSE),
  tasks: { close: oldUnregister, closeToo: oldUnregister },
});

const after: AnyScenario = harnessScenario<Count>({
  name: "patches/09/after",
  summary:
    "two threads unregister one mirror: one succeeds, and the other always gets an assertion",
  harness: { pages: 0 },
  setup: (harness) => ({ device: deviceOf(harness, CLOSE), refused: 0 }),
  tasks: { close: unregister, closeToo: unregister },
  check({ refused }) {
    assert(refused === 1, `${refused} of two calls were refused`);
  },
  reopen(count) {
    count.refused = 0;
  },
});

export const doubleUnregister: Exhibit = {
  id: "patches/09",
  title: "A guard against unregistering twice that did not protect",
  was: `
\`hmm_mirror_unregister\` read \`mirror->hmm\`, returned if it was null, and set it to null when the
mirror was off the list. It looks like protection against a second call.
`,
  wrong: `
It protects only against a second call that comes later. Two calls at the same time both read the
pointer before either clears it. One unlinks the mirror and drops the last reference; the other
goes on with freed memory. And a second call that comes later is a defect of the driver, too,
which the guard hides.
`,
  now: `
The patch removed the guard: exactly one unregister for each register is the caller's duty, and to
break it is as bad as freeing twice. The shipped code goes further. Whether a mirror is registered
is a word under a lock of its own. One call finds it registered and goes on. Every other call is
an assertion that names the mirror and says whether it was unregistered already, was never
registered, or belongs to another thread.
`,
  before: [before],
  after: [after],
};
