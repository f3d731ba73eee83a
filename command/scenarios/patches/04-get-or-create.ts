/**
 * @module Patch 4: finding or making the hmm failed without a reason, or found one that was being
 * freed.
 *
 *     open                                           open too
 *     mm->hmm is null: allocates one
 *                                                    mm->hmm is null: allocates one
 *     publishes it
 *                                                    mm->hmm is taken: "no memory"
 *
 *     open                                           close
 *     reads mm->hmm
 *                                                    last mirror off: clears mm->hmm, frees the hmm
 *     refs get-unless-zero, in freed memory
 *
 * Patch 1 does not fix the second: a thread that opens a device is in no read section, so the grace
 * period does not wait for it.
 */

import { type HmmHarness, harnessScenario } from "../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../src/checker/scenario.ts";
import { Hmm, hmmInit } from "../../../src/hmm/hmm-struct.ts";
import { HMM_NOTIFIER_OPS } from "../../../src/hmm/mirror/invalidate.ts";
import { Mm } from "../../../src/mm/mm-struct.ts";
import { mmdrop, mmgrab } from "../../../src/mm/lifetime/mm.ts";
import {
  mmuNotifierRegister,
  mmuNotifierUnregisterNoRelease,
} from "../../../src/notifier/mmu-notifier.ts";
import { assert } from "../../../src/sync/errors.ts";
import { type Task, access } from "../../../src/sync/tasks/task.ts";
import type { Exhibit } from "../exhibit.ts";
import { deviceOf } from "./stage.ts";

interface Two {
  readonly first: HarnessDevice;
  readonly second: HarnessDevice;
}

function pointerIs(kind: "read" | "write", { machine, mm }: HmmHarness): Task<void> {
  return access(machine.memory, kind, mm.at + Mm.offset.hmm, 1, "mm->hmm");
}

/** 0 is "no memory". */
function* oldGetOrCreate(harness: HmmHarness): Task<number> {
  const { machine, mm } = harness;
  yield* pointerIs("read", harness); // no lock
  const found = mm.hmm;
  if (found !== 0 && (yield* Hmm.at(machine.memory, found).refs.getNotZero())) return found;
  const at = yield* machine.heap.alloc(Hmm);
  hmmInit(Hmm.at(machine.memory, at), mm.at);
  yield* mm.pageTableLock.lock();
  const isFirst = mm.hmm === 0;
  if (isFirst) {
    yield* pointerIs("write", harness);
    mm.hmm = at;
  }
  yield* mm.pageTableLock.unlock();
  if (!isFirst) {
    yield* machine.heap.free(Hmm, at);
    return 0;
  }
  yield* mmgrab(mm);
  yield* mmuNotifierRegister(
    machine,
    mm.notifiers,
    Hmm.at(machine.memory, at).notifier,
    HMM_NOTIFIER_OPS,
  );
  return at;
}

/** Patch 1 is in: the memory is freed after a grace period. But the pointer is cleared last. */
function* oldFree(harness: HmmHarness, hmm: Hmm): Task<void> {
  const { machine, mm } = harness;
  yield* mmuNotifierUnregisterNoRelease(mm.notifiers, hmm.notifier);
  yield* mm.pageTableLock.lock();
  yield* pointerIs("write", harness);
  mm.hmm = 0;
  yield* mm.pageTableLock.unlock();
  yield* mmdrop(machine, mm);
  // no thread is in a read section: the grace period is over at once
  yield* machine.heap.free(Hmm, hmm.at);
}

/** What registering a mirror needs of it. */
function* oldOpen(_two: Two, harness: HmmHarness): Task<void> {
  assert(
    (yield* oldGetOrCreate(harness)) !== 0,
    "register answers ENOMEM, although there is memory",
  );
}

function* oldClose({ first: { record } }: Two, harness: HmmHarness): Task<void> {
  const hmm = Hmm.at(harness.machine.memory, record.mirror.hmm);
  if (yield* hmm.refs.put()) yield* oldFree(harness, hmm);
}

function* open(device: HarnessDevice): Task<void> {
  assert((yield* device.register()) === 0, "register answers ENOMEM, although there is memory");
}

function checkOneHmm({ first, second }: Two, { mm }: HmmHarness): void {
  const areOn = first.record.mirror.hmm === mm.hmm && second.record.mirror.hmm === mm.hmm;
  assert(areOn, "the two mirrors are not on the one hmm of the address space");
}

const refused: AnyScenario = harnessScenario<Two>({
  name: "patches/04/two-creators/before",
  summary:
    "the first two devices of an address space are opened at once: one is told that there is no memory",
  expects: "assertion",
  harness: { pages: 0 },
  setup: (harness) => ({ first: new HarnessDevice(harness), second: new HarnessDevice(harness) }),
  tasks: { open: oldOpen, openToo: oldOpen },
});

const agreed: AnyScenario = harnessScenario<Two>({
  name: "patches/04/two-creators/after",
  summary: "the first two devices of an address space are opened at once: both are on the same hmm",
  harness: { pages: 0 },
  setup: (harness) => ({ first: new HarnessDevice(harness), second: new HarnessDevice(harness) }),
  tasks: { open: ({ first }) => open(first), openToo: ({ second }) => open(second) },
  check: checkOneHmm,
});

const CLOSE = 1;

const freed: AnyScenario = harnessScenario<Two>({
  name: "patches/04/dying/before",
  summary: "a device is opened while the only other one is closed: the look-up finds a freed hmm",
  expects: "use-after-free",
  harness: { pages: 0 },
  setup: (harness) => ({ first: deviceOf(harness, CLOSE), second: new HarnessDevice(harness) }),
  tasks: { open: (_two, harness) => oldGetOrCreate(harness), close: oldClose },
});

const found: AnyScenario = harnessScenario<Two>({
  name: "patches/04/dying/after",
  summary:
    "a device is opened while the only other one is closed: it gets the old hmm or a new one, never a failure",
  harness: { pages: 0 },
  setup: (harness) => ({ first: deviceOf(harness, CLOSE), second: new HarnessDevice(harness) }),
  tasks: { open: ({ second }) => open(second), close: ({ first }) => first.unregister() },
  check({ second }, { mm }) {
    assert(second.record.mirror.hmm === mm.hmm, "the mirror is not on the address space's hmm");
  },
});

const all: AnyScenario = harnessScenario<Two & { readonly last: HarnessDevice }>({
  name: "patches/04/all/after",
  summary:
    "two devices are opened while the last other one is closed: both are on the same hmm, an old or a new one",
  harness: { pages: 0 },
  setup: (harness) => ({
    first: new HarnessDevice(harness),
    second: new HarnessDevice(harness),
    last: deviceOf(harness, 2),
  }),
  tasks: {
    open: ({ first }) => open(first),
    openToo: ({ second }) => open(second),
    close: ({ last }) => last.unregister(),
  },
  check: checkOneHmm,
});

export const getOrCreate: Exhibit = {
  id: "patches/04",
  title: "Finding or making the hmm failed without a reason, or found freed memory",
  was: `
The hmm of an address space was looked up without a lock. If there was none, one was allocated,
published in \`mm->hmm\` if that was still empty, and only then registered as a notifier. If another
thread had published one first, that was an error.
`,
  wrong: `
Of two drivers that are opened at once, one is told that there is no memory, although there is.
The same happens to a driver that is opened while the last mirror of another is unregistered, if
it comes after the last reference was dropped and before the pointer is cleared. A driver that
comes a little earlier reads the pointer, and takes its reference in memory that was freed
meanwhile. The grace period of patch 1 does not help: a driver that opens is not in a read
section. (A third way to fail is not shown: the hmm is published, another thread takes a
reference, and then registering the notifier fails and frees the hmm.)
`,
  now: `
Creation holds the mmap lock for writing, so there are no two creators. The pointer is read and
written under the spinlock \`page_table_lock\`. The end of an hmm begins with clearing it there,
long before its memory is freed. So a pointer that is read under that lock never points to freed
memory. The notifier is registered first, and the hmm is published last, over null or over an hmm
that is being freed. \`ENOMEM\` says again that there is no memory. (The mmap lock alone is not
enough: the end runs in call-backs and deferred calls, which may not wait for it.)
`,
  before: [refused, freed],
  after: [agreed, found, all],
};
