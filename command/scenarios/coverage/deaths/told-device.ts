/**
 * @module A device beside a thread that dies: its driver stores one word when it is told, and a
 * thread of it waits for its range. And what holds when nothing goes on any more.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../../../src/hmm/range/range.ts";
import { hmmRangeWaitUntilValid } from "../../../../src/hmm/range/valid.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { notifierSrcu } from "../../../../src/notifier/mmu-notifier.ts";
import { atomicStore } from "../../../../src/sync/atomics.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { type Task, access } from "../../../../src/sync/tasks/task.ts";
import { ACTIVE } from "../../../../src/sync/words/srcu-words.ts";
import { hmmOf } from "../../patches/stage.ts";

/** A driver whose call-back is one store, and which needs no lock for it. */
export const ONE_STORE_OPS: number = registerMirrorOps("driver that stores one word", {
  *invalidate(mirror) {
    const { memory, table } = HarnessDevice.recordOf(mirror);
    yield* access(memory, "update", table.at, 1, "device table");
    atomicStore(memory.words, table.at, 0);
    return 0;
  },
});

/** The device's other thread: uses a range of the page, as soon as it is valid. */
export function* useRange(device: HarnessDevice): Task<void> {
  const { machine } = device.harness;
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  assert(typeof range !== "number", "there is memory for a range");
  const [start, end] = [HARNESS_PAGE * PAGE_BYTES, (HARNESS_PAGE + 1) * PAGE_BYTES];
  assert((yield* hmmRangeRegister(range, device.mirror, start, end)) === 0, "the space is alive");
  assert(yield* hmmRangeWaitUntilValid(range, Infinity), "nobody takes the mirror away");
  yield* hmmRangeUnregister(range);
  yield* hmmRangeFree(range);
}

/** Nothing is in flight, and nobody holds what the invalidation held. */
export function checkSettled(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const hmm = hmmOf(harness);
  const { words } = machine.memory;
  const inFlight = [hmm.notifiers, hmm.inFlightCount, hmm.overflow];
  assert(inFlight.join() === "0,0,0", `${inFlight.join()} are in flight`);
  assert(hmm.refs.read() === 1, `${hmm.refs.read()} references of the hmm, and one mirror`);
  assert(words[mm.mmapLock.at] === 0, "somebody still holds the mmap lock");
  assert(words[hmm.mirrorsSem.at] === 0, "somebody still holds mirrorsSem");
  const { at } = harness.run(notifierSrcu(machine));
  const sections = [words[at + ACTIVE], words[at + ACTIVE + 1]];
  assert(sections.join() === "0,0", `${sections.join()} read sections go on`);
}
