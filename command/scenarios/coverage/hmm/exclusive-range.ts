/** @module A device makes the pages of a range exclusive, and gets all at the first attempt. */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { DEFAULT_ENCODING, entryIsWritable, entryPfn } from "../../../../src/hmm/entry.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../../../src/hmm/range/range.ts";
import { hmmRangeExclusive } from "../../../../src/hmm/walk/exclusive.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import { coveringOnHarness } from "../on-harness.ts";

const OWNER = 5;
const PAGES = 2;

export const exclusiveRange: Covered = coveringOnHarness<HarnessDevice>({
  layer: "hmm",
  name: "exclusive-range",
  summary: "A device that nobody disturbs makes two pages exclusive: it has them, writable.",
  harness: { pages: PAGES },
  setup: (harness) => HarnessDevice.registered(harness),
  tasks: {
    device: [
      ["hmm/walk/exclusive.hmmRangeExclusive", "mm/migrate/exclusive.makeDeviceExclusive"],
      function* ({ mirror }, harness) {
        const { machine, mm } = harness;
        const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(PAGES) });
        assert(typeof range !== "number", "there is no memory for a range");
        const start = HARNESS_PAGE * PAGE_BYTES;
        const end = start + PAGES * PAGE_BYTES;
        const errno = yield* hmmRangeRegister(range, mirror, start, end);
        assert(errno === 0, `registering answered ${errno}`);
        yield* mm.mmapLock.downRead();
        const answer = yield* hmmRangeExclusive(range, OWNER);
        yield* mm.mmapLock.upRead();
        assert(answer === PAGES, `to make ${PAGES} pages exclusive answered ${answer}`);
        for (const [i, entry] of range.pfns.entries()) {
          const pfn = ptePfn(harness.entryOf(HARNESS_PAGE + i));
          const isGood =
            entryIsWritable(entry, DEFAULT_ENCODING) && entryPfn(entry, DEFAULT_ENCODING) === pfn;
          assert(isGood, `page ${i} is in frame ${pfn}, and its entry is ${entry}`);
        }
        yield* hmmRangeUnregister(range);
        yield* hmmRangeFree(range);
      },
    ],
  },
  twins: [],
});
