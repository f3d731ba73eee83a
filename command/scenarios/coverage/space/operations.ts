/**
 * @module The operations of an address space as its objects run them. A user's buffer is a section
 * exactly while it is mapped, whichever operation ends the last mapping. Inspection shows what is
 * mapped.
 */

import { HARNESS_PAGE, harnessScenario } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { readMaps } from "../../../../src/mm/calls/pagemap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { pagemapTask, statsTask } from "../../../../src/space/inspect.ts";
import {
  attachTask,
  createTask,
  forkTask,
  madviseTask,
  mmapTask,
  mprotectTask,
  mremapTask,
  munmapTask,
} from "../../../../src/space/operations.ts";
import { releaseSpace } from "../../../../src/space/space-hold.ts";
import { MADV_DONTNEED } from "../../../../src/mm/calls/madvise.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { codeOf, makeStage, makeStageForOne, mapping, reopenStage } from "./stage.ts";
import type { Body, Stage } from "./stage.ts";

/** Where buffers are mapped, and something else beside them. */
const PLACE: number = 128 * PAGE_BYTES;
const BESIDE: number = 160 * PAGE_BYTES;
/** What the harness has mapped and touched. */
const TOUCHED: number = HARNESS_PAGE * PAGE_BYTES;

function isOnMachine(harness: HmmHarness, buffer: SharedArrayBuffer): boolean {
  return harness.machine.ram.sections.ofBuffer(buffer) !== undefined;
}

function requireGone(harness: HmmHarness, { buffers }: Stage, after: string): void {
  for (const buffer of buffers)
    assert(!isOnMachine(harness, buffer), `a buffer is still there after ${after}`);
}

/** The first task's thread maps its buffer at PLACE. */
function mapBuffer({ holds, buffers }: Stage, pages: number = 1): Task<number> {
  return mmapTask(holds[0], mapping(pages, PLACE), { buffer: buffers[0] });
}

/** Each operation that ends the last mapping of a buffer removes its section. */
function* mapAndEnd(stage: Stage, harness: HmmHarness): Task<void> {
  const [hold] = stage.holds;
  const [buffer] = stage.buffers;
  yield* mapBuffer(stage);
  yield* new HarnessCpu(harness).store(PLACE, 5);
  assert(new Int32Array(buffer)[0] === 5, "what was stored is not in the buffer");
  yield* munmapTask(hold, PLACE, PAGE_BYTES);
  requireGone(harness, stage, "munmap");
  yield* mapBuffer(stage);
  yield* mmapTask(hold, mapping(1, PLACE), {});
  requireGone(harness, stage, "mmap in its place");
  yield* mmapTask(hold, mapping(1, BESIDE), {});
  yield* mapBuffer(stage);
  const lengths = { oldLengthBytes: PAGE_BYTES, newLengthBytes: PAGE_BYTES };
  yield* mremapTask(hold, { address: BESIDE, ...lengths, mayMove: true, to: PLACE });
  requireGone(harness, stage, "mremap to its place");
  yield* munmapTask(hold, PLACE, PAGE_BYTES);
}

/** Mapped twice, grown in between, and mapped beyond its end. */
function* mapTwice(stage: Stage, harness: HmmHarness): Task<void> {
  const [hold] = stage.holds;
  const [buffer] = stage.buffers;
  const beyond = yield* codeOf(mmapTask(hold, mapping(1, PLACE, 1), { buffer }));
  assert(beyond === "EINVAL", `mapping a buffer past its end answered ${beyond}`);
  requireGone(harness, stage, "a mapping that failed");
  yield* mapBuffer(stage);
  buffer.grow(2 * PAGE_BYTES);
  yield* mmapTask(hold, mapping(1, BESIDE, 1), { buffer });
  yield* new HarnessCpu(harness).store(BESIDE, 6);
  assert(
    new Int32Array(buffer)[PAGE_BYTES / 4] === 6,
    "what was stored is not in the buffer's new page",
  );
  yield* munmapTask(hold, PLACE, PAGE_BYTES);
  assert(isOnMachine(harness, buffer), "a buffer that is mapped is gone");
  yield* munmapTask(hold, BESIDE, PAGE_BYTES);
  requireGone(harness, stage, "the last munmap");
}

function* mapAndDispose(stage: Stage, harness: HmmHarness): Task<void> {
  yield* mapBuffer(stage);
  yield* releaseSpace(stage.holds[0]);
  requireGone(harness, stage, "the end of the space");
}

/** Task `which` maps its own buffer, at an address of its own. */
function mapOwn(which: 0 | 1): Body {
  return function* ({ holds, buffers }, harness) {
    const at = PLACE + which * PAGE_BYTES;
    yield* mmapTask(holds[which], mapping(1, at), { buffer: buffers[which] });
    yield* new HarnessCpu(harness).store(at, which + 1);
    assert(new Int32Array(buffers[which])[0] === which + 1, "what was stored is not in the buffer");
    yield* munmapTask(holds[which], at, PAGE_BYTES);
  };
}

/** Adds its buffer and extends it, without mapping it. */
function acquire(which: 0 | 1): Body {
  return function* ({ holds, buffers }) {
    const own = holds[which].seat.buffers;
    const basePfn = yield* own.acquire(buffers[which]);
    buffers[which].grow(2 * PAGE_BYTES);
    assert((yield* own.acquire(buffers[which])) === basePfn, "a buffer that grew is another one");
    yield* own.release(basePfn);
    yield* own.release(basePfn);
  };
}

function* look({ holds: [{ mm }] }: Stage, harness: HmmHarness): Task<void> {
  const { machine } = harness;
  const stats = yield* statsTask(machine, mm, 0);
  assert(stats.residentBytes <= stats.mappedBytes, "more pages have frames than are mapped");
  const maps = yield* readMaps(machine, mm);
  const pages = yield* pagemapTask(machine, mm, TOUCHED, PAGE_BYTES);
  assert(pages.length === 1 && maps.length >= 0, "a page has one entry");
}

/** Alone: the statistics are exact. */
function* lookAlone(stage: Stage, harness: HmmHarness): Task<void> {
  const [hold] = stage.holds;
  const before = yield* statsTask(harness.machine, hold.mm, 3);
  assert(
    before.mappings === 1 && before.mappedBytes === 2 * PAGE_BYTES,
    "two pages are one mapping",
  );
  assert(
    before.residentBytes === PAGE_BYTES,
    `one page was touched, not ${before.residentBytes / PAGE_BYTES}`,
  );
  assert(before.users === 1 && before.faults === 3, "one thread holds the space");
  yield* mprotectTask(hold, TOUCHED, PAGE_BYTES, VM_READ);
  yield* madviseTask(hold, TOUCHED, PAGE_BYTES, MADV_DONTNEED);
  const after = yield* statsTask(harness.machine, hold.mm, 0);
  assert(
    after.mappings === 2 && after.residentBytes === 0,
    "a page that was given up has no frame",
  );
}

function* unmapAll({ holds }: Stage): Task<void> {
  yield* munmapTask(holds[1], TOUCHED, 512 * PAGE_BYTES);
}

function* forkAndDispose({ holds: [hold] }: Stage): Task<void> {
  yield* releaseSpace(yield* forkTask(hold));
}

function* createAndDispose({ holds: [, { seat }] }: Stage): Task<void> {
  const hold = yield* createTask(seat, {});
  const { number } = hold.place;
  const again = yield* attachTask(seat, number);
  yield* releaseSpace(hold);
  yield* releaseSpace(again);
  const code = yield* codeOf(attachTask(seat, number));
  assert(code === "ESTALE", `attaching to a space that is gone answered ${code}`);
}

interface Parts {
  readonly name: string;
  readonly summary: string;
  readonly exploration?: ScenarioExploration;
  readonly tasks: Readonly<Record<string, readonly [runs: readonly string[], body: Body]>>;
  readonly balanced?: boolean;
  readonly check?: (stage: Stage, harness: HmmHarness) => void;
}

const OPERATIONS = "space/operations";
const RELEASE = "space/space-hold.releaseSpace";
const BUFFERS = [
  "space/user-buffers.acquire",
  "space/user-buffers.release",
  "space/user-buffers.sweep",
] as const;
const BOUNDED: ScenarioExploration = { engine: "bounded", preemptions: 1 };

function operating({ name, summary, exploration, tasks, balanced = true, check }: Parts): Covered {
  const entries = Object.entries(tasks);
  return {
    layer: "space",
    scenario: harnessScenario<Stage>({
      name: `coverage/space/${name}`,
      summary,
      harness: { pages: 2, present: 1, arenaWords: 8192 },
      ...(exploration === undefined ? {} : { exploration }),
      setup: entries.length === 1 ? makeStageForOne : makeStage,
      reopen: reopenStage,
      tasks: Object.fromEntries(entries.map(([task, [, body]]) => [task, body])),
      balanced,
      check: (stage, harness) => {
        requireGone(harness, stage, "everything");
        check?.(stage, harness);
      },
    }),
    twins: [],
    runs: Object.fromEntries(entries.map(([task, [runs]]) => [task, runs])),
  };
}

export const spaceOperations: readonly Covered[] = [
  operating({
    name: "alone/buffer-mapped-and-gone",
    summary: "A user's buffer is removed with its last mapping, by munmap, mmap or mremap.",
    tasks: {
      task: [
        [
          ...BUFFERS,
          `${OPERATIONS}.mmapTask`,
          `${OPERATIONS}.munmapTask`,
          `${OPERATIONS}.mremapTask`,
        ],
        mapAndEnd,
      ],
    },
  }),
  operating({
    name: "alone/buffer-mapped-twice",
    summary: "A user's buffer grows and is mapped twice: it stays as long as either mapping does.",
    tasks: {
      task: [[...BUFFERS, `${OPERATIONS}.mmapBuffer`, "memory/frames/sections.extend"], mapTwice],
    },
  }),
  operating({
    name: "alone/buffer-and-dispose",
    summary: "A user's buffer is removed when the space that maps it ends.",
    balanced: false,
    tasks: { task: [[RELEASE, "space/user-buffers.sweep"], mapAndDispose] },
    check: (_stage, harness) =>
      assert(!harness.accounting().includes(" mm"), "the space is still there"),
  }),
  operating({
    name: "alone/look",
    summary: "The statistics of a space agree with its mappings and its frames.",
    balanced: false,
    tasks: { task: [["space/inspect.statsTask", `${OPERATIONS}.madviseTask`], lookAlone] },
  }),
  operating({
    name: "buffer-vs-buffer",
    summary: "Two threads map a buffer each, store to it and unmap it.",
    exploration: BOUNDED,
    tasks: {
      first: [
        [...BUFFERS, "memory/frames/sections.#add", "memory/frames/sections.remove"],
        mapOwn(0),
      ],
      second: [
        [...BUFFERS, "memory/frames/sections.#add", "memory/frames/sections.remove"],
        mapOwn(1),
      ],
    },
  }),
  operating({
    name: "grow-vs-grow",
    summary: "Two threads add a buffer each, extend it, and remove it.",
    tasks: {
      first: [
        [...BUFFERS, "memory/frames/sections.extend", "memory/frames/sections.remove"],
        acquire(0),
      ],
      second: [
        [...BUFFERS, "memory/frames/sections.extend", "memory/frames/sections.remove"],
        acquire(1),
      ],
    },
  }),
  operating({
    name: "look-vs-munmap",
    summary: "A thread inspects the space while another unmaps all of it, with its page table.",
    balanced: false,
    exploration: { engine: "bounded", preemptions: 2 },
    tasks: {
      look: [
        ["space/inspect.statsTask", "mm/calls/pagemap.readMaps", "mm/calls/pagemap.readPagemap"],
        look,
      ],
      munmap: [[`${OPERATIONS}.munmapTask`], unmapAll],
    },
  }),
  operating({
    name: "fork-vs-create",
    summary: "A space is forked while another one is made, attached to and disposed of.",
    exploration: BOUNDED,
    tasks: {
      fork: [[`${OPERATIONS}.forkTask`, RELEASE], forkAndDispose],
      create: [
        [`${OPERATIONS}.createTask`, `${OPERATIONS}.attachTask`, "space/space-hold.dropHolder"],
        createAndDispose,
      ],
    },
  }),
];
