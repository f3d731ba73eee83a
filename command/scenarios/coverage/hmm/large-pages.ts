/**
 * @module A device whose pages are as large as a huge page, over a block that may be one and in
 * which a single page is mapped: there is no frame for all of it, and the device is told so.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { DEFAULT_ENCODING } from "../../../../src/hmm/entry.ts";
import {
  PAGE_SHIFT_MAX,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../../../src/hmm/range/range.ts";
import { hmmRangeFault } from "../../../../src/hmm/walk/fault.ts";
import { MADV_HUGEPAGE, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { HUGE_PAGES } from "../../../../src/mm/huge.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { EINVAL } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";

const START: number = HUGE_PAGES;
const BLOCK_BYTES: number = HUGE_PAGES * PAGE_BYTES;
/** Not the first: all of the block is looked at. */
const MAPPED: number = START + 5;

export const largePages: Covered = coveringOnHarness<HarnessDevice>({
  layer: "hmm",
  name: "small-page-in-large",
  summary: "A device with huge pages asks for a block in which one small page is mapped: EINVAL.",
  harness: { pages: 0, hugePages: 1, arenaWords: 8192 },
  setup: (harness) => {
    const { machine, mm } = harness;
    harness.map(START, HUGE_PAGES);
    harness.run(harness.touch(MAPPED));
    harness.run(doMadvise(machine, mm, START * PAGE_BYTES, BLOCK_BYTES, MADV_HUGEPAGE));
    return HarnessDevice.registered(harness);
  },
  tasks: {
    device: [
      ["hmm/walk/page-walk.readNext", "hmm/walk/fault.hmmRangeFault"],
      function* ({ mirror }, { machine, mm }) {
        const defaultFlags = DEFAULT_ENCODING.flags.valid;
        const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1), defaultFlags });
        assert(typeof range !== "number", "there is no memory for a range");
        const start = START * PAGE_BYTES;
        const errno = yield* hmmRangeRegister(
          range,
          mirror,
          start,
          start + BLOCK_BYTES,
          PAGE_SHIFT_MAX,
        );
        assert(errno === 0, `registering answered ${errno}`);
        yield* mm.mmapLock.downRead();
        const answer = yield* hmmRangeFault(range);
        yield* mm.mmapLock.upRead();
        assert(answer === EINVAL, `a block of small pages answered ${answer}`);
        yield* hmmRangeUnregister(range);
        yield* hmmRangeFree(range);
      },
    ],
  },
  twins: [],
});
