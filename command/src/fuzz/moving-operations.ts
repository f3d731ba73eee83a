/**
 * @module The calls of random programs that move pages: to a device's memory and back, for its
 * exclusive use, by eviction, and pins, which forbid it.
 */

import { HARNESS_PAGE } from "../../../src/checker/harness/hmm-harness.ts";
import { takeDeviceFrame, takeDeviceFrames } from "../../../src/memory/frames/device-frames.ts";
import { evictDeviceFrame } from "../../../src/mm/migrate/device-evict.ts";
import { makeDeviceExclusive } from "../../../src/mm/migrate/exclusive.ts";
import {
  SELECT_DEVICE,
  SELECT_SYSTEM,
  migrateRange,
  toRam,
} from "../../../src/mm/migrate/migrate-vma.ts";
import type { PageMover } from "../../../src/mm/migrate/migrate-vma.ts";
import type { Mm } from "../../../src/mm/mm-struct.ts";
import { pinUserPages, unpinUserPages } from "../../../src/mm/view/pin.ts";
import { partsIn } from "../../../src/mm/vma/vma.ts";
import { EBUSY, EFAULT, EINVAL, ENOMEM, EOPNOTSUPP, EPERM } from "../../../src/sync/errno.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { OWNER } from "./fuzz-stage.ts";
import type { FuzzStage, Operation, PlacedCall } from "./fuzz-stage.ts";

function* reading(mm: Mm, task: () => Task<number>): Task<number> {
  yield* mm.mmapLock.downRead();
  const result = yield* task();
  yield* mm.mmapLock.upRead();
  return result;
}

function moving(select: number, makeMover: (stage: FuzzStage) => PageMover): Operation {
  return {
    perform: (stage, mm, { startPage, pages }) =>
      reading(mm, function* () {
        const { machine } = stage.harness;
        const range = { startPage, endPage: startPage + pages };
        let result = 0;
        for (const { vma, ...part } of partsIn(machine.memory, mm, range)) {
          const args = { machine, mm, vma, ...part, select, owner: OWNER };
          const answer = yield* migrateRange(args, makeMover(stage));
          if (typeof answer === "number") result = answer;
        }
        return result;
      }),
    answers: [EINVAL, ENOMEM],
  };
}

function* pinAndUnpin(
  { harness }: FuzzStage,
  mm: Mm,
  { call, startPage, pages }: PlacedCall,
): Task<number> {
  const options = { write: call.write === true, longTerm: call.none === true };
  const pinned = yield* pinUserPages(harness.machine, mm, startPage, startPage + pages, options);
  if (typeof pinned === "number") return pinned;
  yield* unpinUserPages(harness.machine, pinned);
  return 0;
}

type MovingCall = "migrate" | "migrate-back" | "exclusive" | "evict" | "pin";

/** By name. */
export const movingOperations: Readonly<Record<MovingCall, Operation>> = {
  migrate: moving(SELECT_SYSTEM, ({ memory, harness }) => ({
    alloc: () => takeDeviceFrame(memory),
    *allocPages(frames) {
      yield* takeDeviceFrames(memory, frames, 0);
    },
    copy: (from, to) => harness.machine.ram.copyFrame(from, to),
  })),
  "migrate-back": moving(SELECT_DEVICE, ({ harness }) => toRam(harness.machine)),
  exclusive: {
    perform: ({ harness }, mm, { startPage, pages }) =>
      reading(mm, () =>
        makeDeviceExclusive(
          harness.machine,
          mm,
          { startPage, endPage: startPage + pages },
          { owner: OWNER, range: 0 },
        ),
      ),
    answers: [EFAULT, EPERM, EOPNOTSUPP, EBUSY, ENOMEM],
  },
  evict: {
    *perform({ harness, memory }, _mm, { startPage }) {
      const place = (startPage - HARNESS_PAGE) % memory.pages;
      yield* evictDeviceFrame(harness.machine, memory, memory.basePfn + Math.max(0, place));
      return 0;
    },
    answers: [],
  },
  pin: { perform: pinAndUnpin, answers: [EFAULT, EBUSY, ENOMEM, EINVAL] },
};
