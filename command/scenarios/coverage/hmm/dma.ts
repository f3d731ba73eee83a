/**
 * @module A range that is mapped for DMA while the CPU takes its page away: a device is told of
 * what is the page's, and everything that was mapped is unmapped.
 */

import { RIG_PAGE, rigScenario } from "../../../../src/checker/rig/hmm-rig.ts";
import type { HmmRig } from "../../../../src/checker/rig/hmm-rig.ts";
import { RigDevice } from "../../../../src/checker/rig/rig-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { hmmRangeDmaMap, hmmRangeDmaUnmap } from "../../../../src/hmm/dma.ts";
import type { HmmRange } from "../../../../src/hmm/range.ts";
import { hmmRangeValid } from "../../../../src/hmm/valid.ts";
import { EAGAIN, EBUSY, EFAULT } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { DONE_TRUE } from "../../../../src/sync/task.ts";
import type { Task } from "../../../../src/sync/task.ts";
import type { Covered } from "../covered.ts";

type Question = (range: HmmRange) => Task<boolean>;

function* mapAndUnmap(
  range: HmmRange,
  device: RigDevice,
  { mm }: HmmRig,
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
  const pages = yield* hmmRangeDmaMap(range, iommu, addresses, true);
  if (pages > 0) {
    yield* device.driverLock.lock();
    if (yield* isValid(range)) device.rig.requireCurrent(RIG_PAGE, range.pfns[0] ?? 0);
    hmmRangeDmaUnmap(range, iommu, addresses, false);
    yield* device.driverLock.unlock();
  }
  yield* mm.mmapLock.upRead();
  assert(mapped.size === 0, "something is still mapped");
  return pages;
}

function* map(device: RigDevice, rig: HmmRig, isValid: Question): Task<void> {
  const answer = yield* rig.withRange(device.mirror, RIG_PAGE, 1, (range) =>
    mapAndUnmap(range, device, rig, isValid),
  );
  assert(answer >= 0 || [EBUSY, EAGAIN, EFAULT].includes(answer), `mapping answered ${answer}`);
}

const NAME = "coverage/hmm/dma-vs-madvise";
const RUNS = [
  "hmm/dma.hmmRangeDmaMap",
  "hmm/dma.hmmRangeDmaUnmap",
  "hmm/valid.hmmRangeValid",
] as const;

/** Discarding takes the mmap lock for reading, so it comes in between. */
function make(name: string, summary: string, isValid: Question, isTwin: boolean): AnyScenario {
  return rigScenario<RigDevice>({
    name,
    summary,
    exploration: { engine: "bounded", preemptions: 2 },
    ...(isTwin ? { expects: "assertion" } : {}),
    rig: { pages: 1 },
    mayRemain: [],
    setup: (rig) => RigDevice.registered(rig),
    tasks: {
      map: (device, rig) => map(device, rig, isValid),
      discard: (_device, rig) => rig.discard(RIG_PAGE, 1),
    },
  });
}

export const dma: readonly Covered[] = [
  {
    layer: "hmm",
    scenario: make(NAME, "A page is mapped for DMA while it is discarded.", hmmRangeValid, false),
    twins: [
      make(
        `${NAME}/does-not-ask`,
        "The driver does not ask under its lock.",
        () => DONE_TRUE,
        true,
      ),
    ],
    runs: {
      map: RUNS,
      discard: ["mm/madvise.doMadvise", "hmm/invalidate.hmmInvalidateRangeStart"],
    },
  },
];
