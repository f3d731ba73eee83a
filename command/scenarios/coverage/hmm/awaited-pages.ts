/**
 * @module A device's range over a page that has to be read from its source, which takes longer than
 * the device waits: the range is not said to be valid, and its user may unregister it. What was
 * asked of the thread that serves is taken back.
 */

import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { DEFAULT_ENCODING } from "../../../../src/hmm/entry.ts";
import {
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../../../../src/hmm/range/range.ts";
import { hmmRangeWaitUntilValid } from "../../../../src/hmm/range/valid.ts";
import { hmmRangeFault } from "../../../../src/hmm/walk/fault.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { SourceIo } from "../../../../src/mm/source/io.ts";
import { SourceServer } from "../../../../src/mm/source/serve.ts";
import { backingOf } from "../../../../src/mm/vma/page-cache.ts";
import { EBUSY } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Covered } from "../covered.ts";
import { type StoreStage, makeStage } from "../mm/store-stage.ts";
import { coveringOnHarness } from "../on-harness.ts";

interface World {
  readonly device: HarnessDevice;
  readonly stage: StoreStage;
}

/** Any. While nobody answers it goes by. */
const SOME_MS = 1;

export const awaitedPages: Covered = coveringOnHarness<World>({
  layer: "hmm",
  name: "awaited-page",
  summary:
    "A device gives up waiting for a page that nobody has read yet, and unregisters its range.",
  harness: { pages: 0, arenaWords: 8192 },
  /** Another thread serves the source, and has something else to do. */
  setup: (harness) => {
    const stage = makeStage(harness, { coders: [] });
    const server = harness.run(SourceServer.begin(harness.machine, stage.cache, stage.store));
    assert(typeof server !== "number", "the service can begin");
    return { stage, device: HarnessDevice.registered(harness) };
  },
  tasks: {
    device: [
      [
        "hmm/walk/page-walk.awaitSource",
        "hmm/range/valid.awaitPage",
        "hmm/range/range.hmmRangeUnregister",
        "mm/source/requests.endWait",
      ],
      function* ({ device }, { machine, mm }) {
        const defaultFlags = DEFAULT_ENCODING.flags.valid;
        const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1), defaultFlags });
        assert(typeof range !== "number", "there is no memory for a range");
        const start = HARNESS_PAGE * PAGE_BYTES;
        const errno = yield* hmmRangeRegister(range, device.mirror, start, start + PAGE_BYTES);
        assert(errno === 0, `registering answered ${errno}`);
        yield* mm.mmapLock.downRead();
        const answer = yield* hmmRangeFault(range);
        yield* mm.mmapLock.upRead();
        assert(answer === EBUSY, `a fault of a page that is not there answered ${answer}`);
        const isValid = yield* hmmRangeWaitUntilValid(range, SOME_MS);
        assert(!isValid, "the range is said to be valid before its page is read");
        yield* hmmRangeUnregister(range);
        yield* hmmRangeFree(range);
      },
    ],
  },
  check: ({ stage: { cache } }, { machine }) => {
    assert(backingOf(machine, cache)?.requests.isEmpty() === true, "a request is left");
    const left = machine.heap.accounting().find(({ name }) => name === SourceIo.name);
    assert(left === undefined, "the record of the wait is left");
  },
  twins: [],
});
