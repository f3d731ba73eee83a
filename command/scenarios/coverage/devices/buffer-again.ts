/**
 * @module A kernel alone, which stores to a user's buffer, and to another one whose frames have the
 * same numbers: as coverage/mm/alone/buffer-again of a CPU, but the entry comes to the device's
 * table by the service of another of its threads.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { FaultService } from "../../../../src/devices/service/fault-service.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import { DONE, type Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { withoutFlush } from "../mm/left-out.ts";
import { FIRST, KNOWN, PLACE, anotherBuffer, mapBuffer, useUpNumbers } from "../mm/buffer-again.ts";
import { type World, playing } from "./accesses.ts";
import { inKernel, withService } from "./kernel.ts";

const STORED = 7;

function* resolve(service: FaultService): Task<void> {
  const errno = yield* service.resolve(PLACE, true, false);
  assert(errno === 0, `the fault was answered ${errno}`);
}

function* storeToBoth(world: World, harness: HmmHarness, isFlushed: boolean): Task<void> {
  const first = yield* harness.machine.ram.sections.add(new SharedArrayBuffer(2 * PAGE_BYTES));
  yield* mapBuffer(harness, first, FIRST);
  yield* inKernel(world, harness, function* ({ u32 }) {
    yield* callInSteps(u32, "store", KNOWN * PAGE_BYTES, 1);
    yield* callInSteps(u32, "store", FIRST * PAGE_BYTES, 1);
    const [again, buffer] = yield* anotherBuffer(harness, first);
    yield* mapBuffer(harness, again, PLACE);
    yield* withService(world, harness, (service) =>
      isFlushed ? resolve(service) : withoutFlush(1, resolve(service)),
    );
    yield* callInSteps(u32, "store", PLACE * PAGE_BYTES, STORED);
    const found = new Int32Array(buffer)[0];
    assert(found === STORED, `the buffer holds ${found}`);
  });
}

export const deviceBuffersAgain: readonly Covered[] = [
  playing({
    name: "alone/buffer-again",
    summary:
      "A kernel stores to a buffer that has the numbers of another one, and that another thread of the device has brought.",
    before: () => DONE,
    since(_world, harness) {
      useUpNumbers(harness);
      harness.map(KNOWN, 1);
    },
    tasks: {
      kernel: [
        ["devices/service/span-service.#install"],
        (world, harness) => storeToBoth(world, harness, true),
      ],
    },
    check: () => {},
    twins: [
      [
        "without-flush",
        "The place is not flushed before its entry is installed.",
        "assertion",
        { kernel: (world, harness) => storeToBoth(world, harness, false) },
      ],
    ],
  }),
];
