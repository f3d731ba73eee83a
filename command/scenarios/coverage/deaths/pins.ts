/**
 * @module A thread that dies while it opens or closes a pin, or a view of a user's buffer: what it
 * has pinned is counted in the hold, which its reaper closes (W6 of mm/view/view-hold.ts). In the
 * twins a frame is pinned, and counted a step later.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { PAGE_BYTES, holdsFrame, ptePfn } from "../../../../src/mm/pte.ts";
import { pinUserPages, unpinUserPages } from "../../../../src/mm/view/pin.ts";
import { ViewHold } from "../../../../src/mm/view/view-hold.ts";
import { viewClose, viewOpen } from "../../../../src/mm/view/view-open.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ONE_DIES, type HarnessBody, coveringOnHarness } from "../on-harness.ts";

interface World {
  /** What the frames have at the beginning. */
  readonly others: number;
}

type Body = HarnessBody<World>;

const PAGES = 3;

function mappedFrames(harness: HmmHarness): number {
  let mapped = 0;
  for (let page = HARNESS_PAGE; page < HARNESS_PAGE + PAGES + 1; page++)
    if (holdsFrame(harness.entryOf(page))) mapped++;
  return mapped;
}

/** Nothing is lost: frames, pins, users. */
function check({ others }: World, harness: HmmHarness): void {
  const { machine, mm } = harness;
  assert(machine.memory.words[mm.mmapLock.at] === 0, "somebody still holds the lock");
  assert(mm.users.read() === 1, `the space has ${mm.users.read()} users`);
  assert(mm.pins.isEmpty() && mm.holds.isEmpty(), "a pin is listed");
  if (!mm.moving.isEmpty()) return; // whoever comes next ends it
  const { references, pins } = machine.ram.refs.total();
  const mapped = mappedFrames(harness);
  assert(pins === 0, `${pins} pins are left`);
  assert(references === mapped + others, `${references} references of ${mapped} frames`);
}

/** Two pages that are there, and one that nobody has touched. */
const pin: Body = function* (_world, { machine, mm }) {
  const [start, end] = [HARNESS_PAGE, HARNESS_PAGE + PAGES];
  const pinned = yield* pinUserPages(machine, mm, start, end, { write: true });
  if (typeof pinned === "number") bug(`the pin answered ${pinned}`);
  yield* unpinUserPages(machine, pinned);
};

/** The second page gets the reference of its pin, and is counted later. */
const pinUnnoted: Body = function* (_world, harness) {
  const { machine, mm } = harness;
  const at = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, false);
  assert(at > 0, `the view answered ${at}`);
  const pfn = ptePfn(harness.entryOf(HARNESS_PAGE + 1));
  yield* machine.ram.refs.pageGet(pfn);
  yield* access(machine.memory, "write", at + ViewHold.offset.pinned, 1, "view");
  yield* machine.ram.refs.pagePut(pfn);
  yield* viewClose(machine, at);
};

/** Where a user's buffer of two pages is mapped. */
const BUFFER: number = HARNESS_PAGE + 16;
const BUFFER_PAGES = 2;

function mapBuffer(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const buffer = new SharedArrayBuffer(BUFFER_PAGES * PAGE_BYTES);
  const bufferPfn = harness.run(machine.ram.sections.add(buffer));
  const mapped = harness.run(
    doMmap(machine, mm, {
      address: BUFFER * PAGE_BYTES,
      lengthBytes: BUFFER_PAGES * PAGE_BYTES,
      placement: MAP_FIXED_NOREPLACE,
      protection: VM_READ | VM_WRITE,
      shared: true,
      bufferPfn,
      offsetPages: 0,
    }),
  );
  assert(mapped > 0, `mmap answered ${mapped}`);
}

const viewOfBuffer: Body = function* (_world, { machine, mm }) {
  const at = yield* viewOpen(machine, mm, BUFFER, BUFFER + BUFFER_PAGES, true);
  assert(at > 0, `the view answered ${at}`);
  yield* viewClose(machine, at);
};

function pinning(
  name: string,
  summary: string,
  setup: (harness: HmmHarness) => void,
  dies: readonly [runs: readonly string[], body: Body],
  twin: Body,
): Covered {
  return coveringOnHarness<World>({
    layer: "mm",
    name: `death/${name}`,
    summary,
    harness: { pages: PAGES + 1, present: PAGES - 1, arenaWords: 8192 },
    ...ONE_DIES,
    mayRemain: "anything",
    setup(harness) {
      setup(harness);
      const { references } = harness.machine.ram.refs.total();
      return { others: references - mappedFrames(harness) };
    },
    tasks: {
      dies,
      touch: [
        ["mm/fault/cpu-fault.cpuFault"],
        (_world, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE + PAGES, true),
      ],
    },
    check,
    twins: [["unnoted", "It counts a pin a step after it has it.", "assertion", { dies: twin }]],
  });
}

export const deathsWithPins: readonly Covered[] = [
  pinning(
    "pin",
    "A thread dies at any step of a pin of three pages, or of its end, while another touches a page behind them.",
    () => undefined,
    [["mm/view/pin-each.pinEach", "memory/frames/noted-pins.pinNoted"], pin],
    pinUnnoted,
  ),
  pinning(
    "view-of-buffer",
    "A thread dies at any step of a view of a user's buffer, or of its end, while another touches a page.",
    mapBuffer,
    [["mm/view/view-open.viewOpen", "memory/frames/noted-pins.pinNoted"], viewOfBuffer],
    pinUnnoted,
  ),
];
