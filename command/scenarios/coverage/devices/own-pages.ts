/**
 * @module A device that takes pages by itself: a store of a kernel moves the page to the device's
 * private memory, while the CPU touches it, unmaps it, or another kernel needs the room. Twins as
 * in accesses.ts.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import type { ScenarioExploration } from "../../../../src/checker/scenario.ts";
import { takeAdvice } from "../../../../src/devices/service/device.ts";
import {
  allocOwnMemory,
  endOwnMemory,
  failNextAllocation,
} from "../../../../src/devices/service/own-memory.ts";
import { moveOwnPages } from "../../../../src/devices/service/own-pages.ts";
import { ADVICE_ACCESSED_BY, ADVICE_PREFERRED } from "../../../../src/devices/policy/placement.ts";
import { prefetchCommand } from "../../../../src/devices/software/migrate-command.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import { DEVICE_PRIVATE } from "../../../../src/memory/frames/device-frames.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { KIND_DEVICE_PRIVATE, pteKind } from "../../../../src/mm/pte.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { listedResources } from "../../../../src/sync/lockdep/resources.ts";
import { EINVAL } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import { callInSteps } from "../../../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import {
  ADDRESS,
  BEFORE,
  LEAF_PAGES,
  PAGE,
  discard,
  munmap,
  onlySaw,
  playing,
  without,
} from "./accesses.ts";
import type { Body, World } from "./accesses.ts";
import { inKernel, withService } from "./kernel.ts";

const SHORT: ScenarioExploration = { engine: "bounded", preemptions: 1 };
const PAGE_BYTES = 4096;

const TAKES = [
  "devices/service/fault-service.#placePages",
  "devices/service/own-pages.moveOwnPages",
] as const;
const ROOM = [...TAKES, "devices/service/own-pages.takeChances"] as const;

/** The device gets `pages` pages of private memory; the page is stored to by the CPU. */
function owning(pages: number): Body {
  return function* (world, { machine }) {
    const isMade = yield* allocOwnMemory(machine, world.record, DEVICE_PRIVATE, pages * PAGE_BYTES);
    assert(isMade, "the device has no memory of its own");
  };
}

function* storeBack(world: World, harness: HmmHarness, page: number, value: number): Task<void> {
  yield* inKernel(world, harness, function* (memory) {
    const address = page * PAGE_BYTES;
    yield* callInSteps(memory.u32, "store", address, value);
    const seen = yield* callInSteps(memory.u32, "load", address);
    assert(seen === value, `the kernel stored ${value} and loads ${String(seen)}`);
  });
}

/** Twice, and then says so. */
const storesAndSays: Body = (world, harness) =>
  inKernel(world, harness, function* (memory) {
    yield* callInSteps(memory.u32, "store", ADDRESS, 8);
    yield* callInSteps(memory.u32, "store", ADDRESS, 9);
    yield* world.flag.store(1);
  });

/** What it sees first brings the page back; once the kernel has said so, it sees the last store. */
function* touchesAndListens(world: World, harness: HmmHarness): Task<void> {
  const cpu = new HarnessCpu(harness);
  world.seen.push(yield* cpu.load(ADDRESS));
  if ((yield* world.flag.load()) === 0) return;
  const last = yield* cpu.load(ADDRESS);
  assert(last === 9, `the kernel has stored 9, and the CPU loads ${last}`);
}

/** Pages of the device are full: page PAGE is there, and has been used. */
function* fullOfOne(world: World, harness: HmmHarness): Task<void> {
  yield* new HarnessCpu(harness).store(ADDRESS + PAGE_BYTES, BEFORE);
  yield* owning(1)(world, harness);
  yield* storeBack(world, harness, PAGE, BEFORE);
}

const storesHere: Body = (world, harness) => storeBack(world, harness, PAGE, 9);
const storesNext: Body = (world, harness) => storeBack(world, harness, PAGE + 1, 10);

/** A page that is preferred on the device is taken by a load. */
function* preferred(world: World, harness: HmmHarness): Task<void> {
  yield* owning(2)(world, harness);
  const device = viewDevice(harness.machine, world.software);
  const errno = yield* takeAdvice(device, PAGE, PAGE + 1, ADVICE_PREFERRED);
  assert(errno === 0, `the advice was answered ${errno}`);
}

const loads: Body = (world, harness) =>
  inKernel(world, harness, function* (memory) {
    world.seen.push(yield* callInSteps(memory.u32, "load", ADDRESS));
  });

const cpuStores: Body = (_world, harness) => new HarnessCpu(harness).store(ADDRESS, 9);

/** A mapping of one page before the others. */
function* mapBefore({ machine, mm }: HmmHarness): Task<void> {
  const place = { address: ADDRESS - PAGE_BYTES, lengthBytes: PAGE_BYTES };
  const kind = { protection: VM_READ | VM_WRITE, shared: false, bufferPfn: 0, offsetPages: 0 };
  yield* doMmap(machine, mm, { ...place, ...kind, placement: MAP_FIXED_NOREPLACE });
}

/** Pages that have been stored to by the CPU, and one before them; the device has room for two. */
function* threeForTwo(world: World, harness: HmmHarness): Task<void> {
  yield* mapBefore(harness);
  for (const page of [PAGE + 1, PAGE + 2])
    yield* new HarnessCpu(harness).store(page * PAGE_BYTES, BEFORE);
  yield* owning(2)(world, harness);
}

/** Which of the three pages are the device's own. */
function ownOf(harness: HmmHarness): string {
  const pages = [PAGE, PAGE + 1, PAGE + 2];
  return pages.map((page) => pteKind(harness.entryOf(page)) === KIND_DEVICE_PRIVATE).join();
}

function* moves(
  world: World,
  { machine }: HmmHarness,
  [from, to]: readonly [from: number, to: number],
  isToDevice: boolean = true,
): Task<string> {
  const device = viewDevice(machine, world.software);
  const { errno, pages } = yield* moveOwnPages(device, from, to, isToDevice);
  return `${errno}: ${pages}`;
}

function requireSame(what: string, is: string, shouldBe: string): void {
  assert(is === shouldBe, `${what} ${is}, not ${shouldBe}`);
}

/** A load leaves a page where it is; prefetching moves it, and makes translations. */
function* prefetches(world: World, harness: HmmHarness): Task<void> {
  yield* loads(world, harness);
  requireSame("after a load the device owns", ownOf(harness), "false,false,false");
  const request = { address: ADDRESS, lengthBytes: 2 * PAGE_BYTES, bytes: new Uint8Array(0) };
  yield* withService(world, harness, function* (service) {
    const { errno, pages } = yield* prefetchCommand(service, request);
    requireSame("prefetching comes to", `${errno}: ${pages}`, "0: 2");
    requireSame("after it the device owns", ownOf(harness), "true,true,false");
    for (const page of [PAGE, PAGE + 1])
      assert(service.device.table.entryOf(page) !== 0, "a page has no translation");
  });
}

/** A page that is in use stays when another one needs room; one that is not leaves. */
function* makesRoom(world: World, harness: HmmHarness): Task<void> {
  const { machine, mm } = harness;
  const { record } = world;
  const wanted: readonly [number, number] = [PAGE + 2, PAGE + 3];
  yield* storeBack(world, harness, PAGE, BEFORE);
  requireSame("moving a page comes to", yield* moves(world, harness, [PAGE + 1, PAGE + 2]), "0: 1");
  requireSame("the device owns", ownOf(harness), "true,true,false");
  failNextAllocation(record);
  requireSame("without an allocation it is", yield* moves(world, harness, wanted), "0: 0");
  requireSame("without an allocation it owns", ownOf(harness), "true,false,false");
  requireSame("moving one more comes to", yield* moves(world, harness, wanted), "0: 1");
  requireSame("then it owns", ownOf(harness), "true,false,true");
  const all = [PAGE, PAGE + 3] as const;
  requireSame("moving back comes to", yield* moves(world, harness, all, false), "0: 2");
  requireSame("at last it owns", ownOf(harness), "false,false,false");
  const two = [PAGE - 1, PAGE + 1] as const; // in two pieces
  requireSame("moving two pieces comes to", yield* moves(world, harness, two), "0: 2");
  requireSame("and back to", yield* moves(world, harness, two, false), "0: 2");

  yield* moves(world, harness, wanted);
  yield* doMunmap(machine, mm, (PAGE + 1) * PAGE_BYTES, PAGE_BYTES);
  requireSame("over a hole it comes to", yield* moves(world, harness, all), `${EINVAL}: 0`);
  yield* endOwnMemory(machine, record);
  requireSame("the device that has ended owns", ownOf(harness), "false,false,false");
  const { memory } = machine;
  assert(listedResources(memory, memory.record).length === 0, "the thread still owns something");
}

/** The device's memory is full of a page that was used, and another one is to move there. */
function* makesRoomInUse(world: World, harness: HmmHarness): Task<void> {
  const next = [PAGE + 1, PAGE + 2] as const;
  requireSame("moving the next page comes to", yield* moves(world, harness, next), "0: 1");
  requireSame("then the device owns", ownOf(harness), "false,true,false");
}

/** The device's memory is full of the page that was used, and there is another mapping. */
function* usedPageOfLeaf(world: World, harness: HmmHarness): Task<void> {
  yield* mapBefore(harness);
  yield* owning(1)(world, harness);
  yield* storeBack(world, harness, PAGE, BEFORE);
}

const movesBefore: Body = (world, harness) => moves(world, harness, [PAGE - 1, PAGE]);

/** Of a page that is to be accessed in RAM a store leaves it there; of the next one it does not. */
function* storesAdvised(world: World, harness: HmmHarness): Task<void> {
  const device = viewDevice(harness.machine, world.software);
  const errno = yield* takeAdvice(device, PAGE, PAGE + 1, ADVICE_ACCESSED_BY);
  assert(errno === 0, `the advice was answered ${errno}`);
  yield* storeBack(world, harness, PAGE, 9);
  requireSame("after an advised store the device owns", ownOf(harness), "false,false,false");
  yield* storeBack(world, harness, PAGE + 1, 10);
  requireSame("after another store it owns", ownOf(harness), "false,true,false");
}

export const ownPages: readonly Covered[] = [
  playing({
    name: "alone/own-room-in-use",
    summary: "A page that was used makes room when the hand comes by for the second time.",
    pages: 2,
    before: fullOfOne,
    exploration: SHORT,
    tasks: {
      device: [
        ["devices/service/own-pages.takeChances", "devices/service/device-table.makeOld"],
        makesRoomInUse,
      ],
    },
    check: () => {},
    twins: [],
  }),
  playing({
    name: "alone/own-advised",
    summary: "A kernel's store leaves a page in RAM that is to be accessed there.",
    pages: 3,
    before: owning(2),
    exploration: SHORT,
    tasks: { device: [["devices/service/fault-service.#placePages"], storesAdvised] },
    check: () => {},
    twins: [],
  }),
  playing({
    name: "own-room-vs-munmap-of-leaf",
    summary:
      "The hand comes by a page that was used, while its mapping goes, the leaf of the device's table with it.",
    pages: LEAF_PAGES,
    before: usedPageOfLeaf,
    exploration: SHORT,
    tasks: {
      room: [["devices/service/own-pages.takeChances"], movesBefore],
      munmap: [["devices/service/device-table.freeLeaves"], munmap],
    },
    check: () => {},
    twins: [],
  }),
  playing({
    name: "alone/own-room",
    summary:
      "Pages move to the device's own memory and back; where room is needed, what is in use stays.",
    pages: 3,
    before: threeForTwo,
    exploration: SHORT,
    tasks: {
      device: [
        [...ROOM, "devices/service/own-memory.makeRoom", "devices/service/own-memory.endOwnMemory"],
        makesRoom,
      ],
    },
    check: () => {},
    twins: [],
  }),
  playing({
    name: "alone/own-prefetch",
    summary: "A load leaves a page in RAM; prefetching takes it, and makes translations.",
    pages: 2,
    before: owning(2),
    exploration: SHORT,
    tasks: { device: [["devices/software/migrate-command.prefetchCommand"], prefetches] },
    check: () => {},
    twins: [],
  }),
  playing({
    name: "taking-store-vs-cpu-load",
    summary: "A kernel's store takes the page, while the CPU loads from it and brings it back.",
    before: owning(2),
    exploration: SHORT,
    tasks: {
      kernel: [TAKES, storesAndSays],
      cpu: [["mm/fault/device-private.devicePrivateFault"], touchesAndListens],
    },
    check: onlySaw(BEFORE, 8, 9),
    twins: [
      [
        "without-flush",
        "The device lets go of its page without a flush: a store goes to the frame that it had.",
        "use-after-free",
        { cpu: without(1, touchesAndListens) },
      ],
    ],
  }),
  playing({
    name: "taking-store-vs-discard",
    summary: "A kernel's store takes the page, while the CPU discards it.",
    before: owning(2),
    exploration: SHORT,
    tasks: { kernel: [TAKES, storesAndSays], discard: [["mm/entries/zap.zapRange"], discard] },
    check: () => {},
    twins: [],
  }),
  playing({
    name: "preferred-load-vs-cpu-store",
    summary: "A kernel's load takes a page that is preferred on the device, while the CPU stores.",
    before: preferred,
    exploration: SHORT,
    tasks: {
      kernel: [TAKES, loads],
      cpu: [["mm/fault/cpu-fault.cpuFault"], cpuStores],
    },
    check: onlySaw(BEFORE, 9),
    twins: [],
  }),
  playing({
    name: "taking-store-vs-taking-store",
    summary:
      "Two kernels store to two pages, and the device has room for one: the other leaves, if it is not in use.",
    pages: 2,
    before: fullOfOne,
    exploration: SHORT,
    tasks: { here: [[TAKES[0]], storesHere], next: [ROOM, storesNext] },
    check: () => {},
    twins: [],
  }),
];
