/**
 * @module A range is mapped for DMA while the CPU discards its page: the device gets the page's
 * frame or nothing, and everything that was mapped is unmapped.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { hmmRangeDmaMap, hmmRangeDmaUnmap } from "../../../../src/hmm/walk/dma.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { hmmRangeValid } from "../../../../src/hmm/range/valid.ts";
import { EAGAIN, EBUSY, EFAULT } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { DONE_TRUE } from "../../../../src/sync/tasks/task.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";

type Question = (range: HmmRange) => Task<boolean>;

function* mapAndUnmap(
  range: HmmRange,
  device: HarnessDevice,
  { mm }: HmmHarness,
  isValid: Question,
): Task<number> {
  const mapped = new Set<number>();
  const iommu = {
    mapPage: (pfn: number): number => {
      mapped.add(pfn);
      return pfn;
    },
    unmapPage: (address: number): void => {
      assert(mapped.delete(address), `${address} was not mapped`);
    },
  };
  const addresses = new Float64Array(1);
  yield* mm.mmapLock.downRead();
  const pages = yield* hmmRangeDmaMap(range, iommu, addresses);
  if (pages > 0) {
    yield* device.driverLock.lock();
    if (yield* isValid(range)) device.harness.requireCurrent(HARNESS_PAGE, range.pfns[0] ?? 0);
    hmmRangeDmaUnmap(range, iommu, addresses, false);
    yield* device.driverLock.unlock();
  }
  yield* mm.mmapLock.upRead();
  assert(mapped.size === 0, "something is still mapped");
  return pages;
}

function* map(device: HarnessDevice, harness: HmmHarness, isValid: Question): Task<void> {
  const answer = yield* harness.withRange(device.mirror, HARNESS_PAGE, 1, (range) =>
    mapAndUnmap(range, device, harness, isValid),
  );
  assert(answer >= 0 || [EBUSY, EAGAIN, EFAULT].includes(answer), `mapping answered ${answer}`);
}

const NAME = "coverage/hmm/dma-vs-madvise";
const RUNS = [
  "hmm/walk/dma.hmmRangeDmaMap",
  "hmm/walk/dma.hmmRangeDmaUnmap",
  "hmm/range/valid.hmmRangeValid",
] as const;

/** Discarding takes the mmap lock for reading, so it can come in between. */
function make(name: string, summary: string, isValid: Question, isTwin: boolean): AnyScenario {
  return harnessScenario<HarnessDevice>({
    name,
    summary,
    exploration: { engine: "bounded", preemptions: 2 },
    ...(isTwin ? { expects: "assertion" } : {}),
    harness: { pages: 1 },
    mayRemain: [],
    setup: (harness) => HarnessDevice.registered(harness),
    tasks: {
      map: (device, harness) => map(device, harness, isValid),
      discard: (_device, harness) => harness.discard(HARNESS_PAGE, 1),
    },
  });
}

export const dma: readonly Covered[] = [
  {
    layer: "hmm",
    scenario: make(NAME, "A page is mapped for DMA while it is discarded.", hmmRangeValid, false),
    twins: [
      make(
        `${NAME}/does-not-recheck`,
        "The driver does not recheck under its lock.",
        () => DONE_TRUE,
        true,
      ),
    ],
    runs: {
      map: RUNS,
      discard: ["mm/calls/madvise.doMadvise", "hmm/mirror/invalidate.hmmInvalidateRangeStart"],
    },
  },
];
