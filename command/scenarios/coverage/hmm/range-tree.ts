/**
 * @module The tree of ranges changes while an invalidation searches it: one thread registers a
 * range over the second page and programs its device from it, one unregisters the range over the
 * first page, which is the root, and one discards the second page. No order of the three leaves the
 * device with a frame that is not the page's. The tree has the registered ranges and no other.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import { HmmRangeRecord, readSequence, startSequence } from "../../../../src/hmm/range-record.ts";
import { addRange, overlappingRanges, rangesOf } from "../../../../src/hmm/range-tree.ts";
import { hmmRangeRegister, hmmRangeUnregister } from "../../../../src/hmm/range/range.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import { type OwnRange, deviceOf, freshRange, hmmOf, rangeOf } from "../../patches/stage.ts";
import type { Covered } from "../covered.ts";

/** The tasks, by number. */
const DRIVER = 0;
const OTHER = 1;
const SECOND_PAGE: number = HARNESS_PAGE + 1;

interface World {
  readonly device: HarnessDevice;
  /** Over the first page, registered by the set-up. */
  readonly root: OwnRange;
  /** Not registered by the set-up. */
  readonly fresh: OwnRange;
}

type Body = (world: World, harness: HmmHarness) => Task<unknown>;

function* register({ device, fresh: { handle } }: World): Task<void> {
  const start = SECOND_PAGE * PAGE_BYTES;
  const errno = yield* hmmRangeRegister(handle, device.mirror, start, start + PAGE_BYTES);
  assert(errno === 0, `registering answered ${errno}`);
  yield* device.serveRange(handle);
}

/** The range is added, and the root does not hear of its end (T2 of avl-tree.ts). */
function* registerUnheard({ device, fresh: { handle } }: World, harness: HmmHarness): Task<void> {
  const hmm = hmmOf(harness);
  const { record } = handle;
  record.hmm = hmm.at;
  record.startPage = SECOND_PAGE;
  record.endPage = SECOND_PAGE + 1;
  record.pageShift = 12;
  yield* hmm.rangesLock.lock();
  addRange(hmm, record);
  const root = HmmRangeRecord.at(hmm.memory, hmm.ranges);
  if (root.at !== record.at) root.lastEndPage = root.endPage;
  yield* startSequence(hmm, record);
  handle.notifierSeq = readSequence(record);
  yield* hmm.rangesLock.unlock();
  yield* device.serveRange(handle);
}

const unregister: Body = ({ root }) => hmmRangeUnregister(root.handle);

/** Looks for ranges as an invalidation does, but without rangesLock. */
function* search(_world: World, harness: HmmHarness): Task<void> {
  overlappingRanges(hmmOf(harness), SECOND_PAGE, SECOND_PAGE + 1);
}

const discard: Body = (_world, harness) => harness.discard(SECOND_PAGE, 1);

function requireTree({ device, root, fresh }: World, harness: HmmHarness): void {
  const registered = [root, fresh].map(({ handle }) => handle).filter((one) => one.isRegistered());
  const listed = rangesOf(hmmOf(harness));
  assert(
    listed.join() === registered.map(({ record }) => record.at).join(),
    `the tree has ${listed.length} ranges, of ${registered.length} that are registered`,
  );
  device.requireCoherent();
}

const NAME = "coverage/hmm/range-tree";

function make(
  name: string,
  summary: string,
  tasks: { driver: Body; other: Body; madvise: Body },
  expects?: FindingKind,
): AnyScenario {
  return harnessScenario<World>({
    name,
    summary,
    ...(expects === undefined ? {} : { expects }),
    harness: { pages: 2 },
    exploration: { engine: "bounded", preemptions: 1 },
    setup(harness) {
      const device = deviceOf(harness, DRIVER);
      return { device, root: rangeOf(harness, OTHER, device), fresh: freshRange(harness, DRIVER) };
    },
    reopen({ root, fresh }) {
      root.reopen();
      fresh.reopen();
    },
    tasks,
    check: requireTree,
  });
}

export const rangeTree: readonly Covered[] = [
  {
    layer: "hmm",
    scenario: make(
      NAME,
      "A range is registered and another unregistered, while an invalidation searches the tree.",
      { driver: register, other: unregister, madvise: discard },
    ),
    twins: [
      make(
        `${NAME}/without-lock`,
        "A thread searches the tree without rangesLock.",
        { driver: register, other: unregister, madvise: search },
        "data-race",
      ),
      make(
        `${NAME}/end-not-raised`,
        "The nodes above a new range do not learn where it ends, so an invalidation misses it.",
        { driver: registerUnheard, other: unregister, madvise: discard },
        "assertion",
      ),
    ],
    runs: {
      driver: ["hmm/range/range.hmmRangeRegister", "hmm/range-tree.addRange"],
      other: ["hmm/range/range.hmmRangeUnregister", "hmm/range-tree.removeRange"],
      madvise: [
        "hmm/mirror/invalidate.hmmInvalidateRangeStart",
        "hmm/range-tree.overlappingRanges",
      ],
    },
  },
];
