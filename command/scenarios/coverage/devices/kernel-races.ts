/**
 * @module Loads of a kernel while the device itself takes its translation away: to make room,
 * because a page has been in RAM for long enough, or because another of its threads writes the
 * page; and loads that are atomic, which go to RAM. Twins as in accesses.ts.
 */

import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { COMMANDS } from "../../../../src/devices/software/commands.ts";
import { EFAULT } from "../../../../src/sync/errno.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  BEFORE,
  BOUNDED,
  LEAF_PAGES,
  LET_GO,
  LOAD,
  PAGE,
  discard,
  loadOnce,
  munmap,
  onlySaw,
  playing,
  without,
} from "./accesses.ts";
import type { Body, World } from "./accesses.ts";
import { inKernel, withService } from "./kernel.ts";
import { thrashBefore } from "./rounds.ts";

/** A kernel that waits to be told gives way without being preempted. */
const SHORT: ScenarioExploration = { engine: "bounded", preemptions: 1 };

const PAGE_BYTES = 4096;
const NEXT: number = PAGE + 1;

/** Page `PAGE + i` begins with BEFORE + i. */
export function storing(pages: number): Body {
  return function* (_world, harness) {
    for (let i = 0; i < pages; i++)
      yield* new HarnessCpu(harness).store((PAGE + i) * PAGE_BYTES, BEFORE + i);
  };
}

/** Another thread of the device brings the page. */
export function bringing(page: number): Body {
  return (world, harness) =>
    withService(world, harness, function* (service) {
      const errno = yield* service.resolve(page, false, false);
      assert(errno === 0, `page ${page} was answered ${errno}`);
    });
}

function loading(page: number, times: number): Body {
  return (world, harness) =>
    inKernel(world, harness, function* (memory) {
      for (let i = 0; i < times; i++)
        world.seen.push(yield* callInSteps(memory.u32, "load", page * PAGE_BYTES));
    });
}

export function* storingAndLoading(world: World, harness: HmmHarness): Task<void> {
  yield* storing(2)(world, harness);
  yield* loadOnce(world, harness);
}

/** A record of two words. */
const loadRecord: Body = (world, harness) =>
  inKernel(world, harness, function* (memory) {
    const record = new Uint32Array(2);
    yield* callInSteps(memory.u32, "loadInto", ADDRESS, record);
    world.seen.push(...record);
  });

/** The second word of page `PAGE + i`, too, is BEFORE + i. */
function* storingPairs(world: World, harness: HmmHarness): Task<void> {
  for (let i = 0; i < 2; i++)
    yield* new HarnessCpu(harness).store((PAGE + i) * PAGE_BYTES + 4, BEFORE + i);
  yield* storingAndLoading(world, harness);
}

/** Of the device's frames; the first fault fills them all. */
const FRAMES = 16;

function* full(world: World, harness: HmmHarness): Task<void> {
  yield* storing(FRAMES + 2)(world, harness);
  yield* bringing(PAGE)(world, harness);
}

function* thrashed(world: World, harness: HmmHarness): Task<void> {
  yield* storing(2)(world, harness);
  yield* withService(world, harness, (service) => thrashBefore(PAGE, service));
}

/** Loads, and loads again once it was told that the page is another one. */
const loadAndListen: Body = (world, harness) =>
  inKernel(world, harness, function* (memory) {
    yield* callInSteps(memory.u32, "load", ADDRESS);
    yield* world.flag.waitWhile(0);
    world.seen.push(yield* callInSteps(memory.u32, "load", ADDRESS));
  });

function* discardAndSay(world: World, harness: HmmHarness): Task<void> {
  yield* discard(world, harness);
  yield* world.flag.store(1);
}

function* storeAndSay(world: World, harness: HmmHarness): Task<void> {
  yield* inKernel(world, harness, (memory) => callInSteps(memory.u32, "store", ADDRESS, 1));
  yield* world.flag.store(1);
}

const loadAtomically: Body = (world, harness) =>
  inKernel(world, harness, function* (memory) {
    world.seen.push(yield* callInSteps(memory.u32, "atomicLoad", ADDRESS));
    world.seen.push(yield* callInSteps(memory.u16, "atomicLoad", ADDRESS));
    world.seen.push(yield* callInSteps(memory.u8, "atomicLoad", ADDRESS));
  });

/** A work item as it runs on a device: all its stores share one mark. The last knows the page. */
const storeInItem: Body = (world, harness) =>
  inKernel(world, harness, function* (memory) {
    const { mark, u32 } = memory;
    mark.openSection();
    try {
      yield* callInSteps(u32, "store", ADDRESS, 1);
      yield* callInSteps(u32, "load", ADDRESS);
      yield* callInSteps(u32, "store", ADDRESS, 2);
    } finally {
      yield* callInSteps(mark, "closeSection");
    }
  });

const storeBefore: Body = (world, harness) =>
  inKernel(world, harness, (memory) => callInSteps(memory.u32, "store", ADDRESS, BEFORE));

function neverBack({ seen }: World): void {
  onlySaw(BEFORE, 0)({ seen } as World);
  for (let i = 1; i < seen.length; i++)
    if (seen[i - 1] === 0 && seen[i] !== 0)
      bug("A load saw the page as it was before an earlier load");
}

/** The owner reads the page, or hears that it is not there. */
const command: Body = (world, harness) =>
  withService(world, harness, function* (service) {
    const bytes = new Uint8Array(PAGE_BYTES);
    const { errno } = yield* COMMANDS.read.run(service, {
      address: ADDRESS,
      lengthBytes: PAGE_BYTES,
      bytes,
    });
    assert(errno === 0 || errno === EFAULT, `the command answered ${errno}`);
    if (errno === 0) world.seen.push(bytes[0] ?? -1);
  });

export const kernelRaces: readonly Covered[] = [
  playing({
    name: "kernel-load-vs-evict",
    summary:
      "A kernel loads from a page whose frame another thread of the device takes for another page.",
    pages: 2,
    frames: 1,
    before: storingAndLoading,
    exploration: SHORT,
    tasks: {
      kernel: [LOAD, loading(PAGE, 2)],
      evict: [["devices/service/frame-reserve.reserve"], bringing(NEXT)],
    },
    check: onlySaw(BEFORE),
    twins: [
      [
        "without-flush",
        "The frame is filled anew without a flush.",
        "assertion",
        { evict: without(2, bringing(NEXT)) },
      ],
    ],
  }),
  playing({
    name: "kernel-record-vs-evict",
    summary:
      "A kernel loads a record from a page whose frame another thread of the device takes for another page: both words are the page's.",
    pages: 2,
    frames: 1,
    before: storingPairs,
    exploration: SHORT,
    tasks: {
      kernel: [[...LOAD, "mmu/widths/u32-access.#loadPieces"], loadRecord],
      evict: [["devices/service/frame-reserve.reserve"], bringing(NEXT)],
    },
    check: onlySaw(BEFORE),
    twins: [
      [
        "without-flush",
        "The frame is filled anew without a flush.",
        "assertion",
        { evict: without(2, bringing(NEXT)) },
      ],
    ],
  }),
  playing({
    name: "kernel-load-vs-cold-evict",
    summary:
      "A kernel loads for the first time from a page whose frame is taken for one that nobody has asked for.",
    pages: FRAMES + 2,
    frames: FRAMES,
    before: full,
    exploration: BOUNDED,
    tasks: {
      kernel: [LOAD, loading(PAGE + 2, 1)],
      evict: [["devices/service/frame-reserve.reserveCold"], bringing(PAGE + FRAMES)],
    },
    check: onlySaw(BEFORE + 2),
    twins: [
      [
        "without-flush",
        "The frame is filled anew without a flush.",
        "assertion",
        { evict: without(3, bringing(PAGE + FRAMES)) },
      ],
    ],
  }),
  playing({
    name: "kernel-load-vs-thrashed",
    summary:
      "A kernel loads from a page in RAM that has been there for long enough, while the CPU discards the page.",
    pages: 2,
    before: thrashed,
    exploration: SHORT,
    tasks: {
      kernel: [LOAD, loadAndListen],
      round: [["devices/policy/thrash.expire"], bringing(NEXT)],
      discard: [LET_GO, discardAndSay],
    },
    check: onlySaw(0),
    twins: [
      [
        "without-flush",
        "The device drops the page's entry without a flush.",
        "assertion",
        { round: without(1, bringing(NEXT)) },
      ],
    ],
  }),
  playing({
    name: "kernel-load-vs-kernel-store",
    summary:
      "A kernel loads from a copy while another thread of the device stores to the page, and says so.",
    before: loadOnce,
    exploration: SHORT,
    tasks: { load: [LOAD, loadAndListen], store: [LOAD, storeAndSay] },
    check: onlySaw(1),
    twins: [
      [
        "without-flush",
        "The copy goes without a flush.",
        "assertion",
        { store: without(1, storeAndSay) },
      ],
    ],
  }),
  playing({
    name: "item-of-stores-vs-discard",
    summary:
      "A work item stores twice and loads in between, under one mark, while the CPU discards its page.",
    before: storeBefore,
    exploration: SHORT,
    tasks: {
      kernel: [["sync/primitives/shootdown.enterSection", "mmu/store-mark.enter"], storeInItem],
      discard: [[...LET_GO, "sync/primitives/shootdown.askToLetGo"], discard],
    },
    check: () => {},
    twins: [
      [
        "without-flush",
        "The device lets go without a flush.",
        "use-after-free",
        { discard: without(1, discard) },
      ],
    ],
  }),
  playing({
    name: "atomic-load-vs-discard",
    summary: "A kernel loads atomically, in RAM, from a page that a CPU thread discards.",
    before: loadOnce,
    exploration: SHORT,
    tasks: {
      kernel: [["mmu/soft-tlb.find", "mmu/soft-tlb.findAgain"], loadAtomically],
      discard: [LET_GO, discard],
    },
    check: neverBack,
    twins: [
      [
        "without-flush",
        "The device lets go without a flush.",
        "assertion",
        { discard: without(1, discard) },
      ],
    ],
  }),
  playing({
    name: "command-read-vs-munmap-of-leaf",
    summary:
      "The owner reads a page while the mapping goes, the leaf of the device's table with it.",
    pages: LEAF_PAGES,
    before: loadOnce,
    tasks: {
      command: [["devices/service/fault-service.serveRange"], command],
      munmap: [LET_GO, munmap],
    },
    check: onlySaw(BEFORE),
    twins: [],
  }),
];
