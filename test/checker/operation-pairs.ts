/**
 * @module Operations of an address space and of a device, any two of which are explored at once
 * with every access seen (every-access.ts): each that another thread's could race with must be a
 * step.
 */

import { HARNESS_PAGE, harnessScenario } from "../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../src/checker/harness/harness-device.ts";
import type { AnyScenario } from "../../src/checker/scenario.ts";
import { HarnessCpu } from "../../src/checker/harness/harness-cpu.ts";
import { inKernel, withService } from "../../command/scenarios/coverage/devices/kernel.ts";
import { makeDevice } from "../../command/scenarios/coverage/devices/stage.ts";
import type { DeviceWorld } from "../../command/scenarios/coverage/devices/stage.ts";
import type { CommandRequest } from "../../src/devices/software/command.ts";
import { COMMANDS } from "../../src/devices/software/commands.ts";
import { cpuFault, cpuTranslate } from "../../src/mm/fault/cpu-fault.ts";
import { doFork } from "../../src/mm/lifetime/fork.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import { MAP_FIXED_REPLACE, doMmap } from "../../src/mm/calls/mmap.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { doMremap } from "../../src/mm/calls/mremap.ts";
import { LEAF_WORDS } from "../../src/mmu/radix-table.ts";
import { readMaps, readPagemap } from "../../src/mm/calls/pagemap.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { zapNonBlocking } from "../../src/mm/entries/zap.ts";
import { transfer } from "../../src/space/transfer.ts";
import { SegmentationFault } from "../../src/sync/errors.ts";
import { callInSteps } from "../../src/sync/runners/stepping/calls.ts";
import type { Task } from "../../src/sync/tasks/task.ts";
import { exploreEveryAccess } from "./every-access.ts";

const ADDRESS = HARNESS_PAGE * PAGE_BYTES;
const BOTH = VM_READ | VM_WRITE;
/** Executions of each pair, by chance. A hidden access shows in most of them. */
export const EXECUTIONS = 6;

/**
 * Not here: `stats()`, whose sums over the whole page table and over all frames are those of a
 * moment, and say so.
 *
 * Where an access is no step and may stay so. Registering a mirror asserts that the address space
 * has users: the caller holds one, so the answer is the same whatever the others do to the count.
 * Whether a frame of the device was used lately is a hint for eviction, which a kernel's thread
 * gives without a lock: in the frame table, and by the young bit of the entry, with a
 * compare-and-swap that changes nothing else.
 */
const harmless = [
  "src/hmm/mirror/mirror.ts:",
  "src/devices/service/frames.ts:",
  "src/devices/software/device-translator.ts:",
];

interface Shared {
  /** A software device on the space. */
  readonly world: DeviceWorld;
  readonly device: HarnessDevice;
  /** One for each task. */
  readonly others: readonly [HarnessDevice, HarnessDevice];
}

type Operation = (shared: Shared, harness: HmmHarness, number: 0 | 1) => Task<unknown>;

const operations: Readonly<Record<string, Operation>> = {
  serve: ({ device }) => device.serve(HARNESS_PAGE, 2),
  serveForWriting: ({ device }) => device.serve(HARNESS_PAGE, 1, { write: true }),
  faultForReading: (_shared, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, false),
  faultForWriting: (_shared, { machine, mm }) => cpuFault(machine, mm, HARNESS_PAGE, true),
  dontneed: (_shared, { machine, mm }) =>
    doMadvise(machine, mm, ADDRESS, PAGE_BYTES, MADV_DONTNEED),
  munmap: (_shared, { machine, mm }) => doMunmap(machine, mm, ADDRESS, PAGE_BYTES),
  mmap: (_shared, { machine, mm }) =>
    doMmap(machine, mm, {
      lengthBytes: PAGE_BYTES,
      address: ADDRESS,
      placement: MAP_FIXED_REPLACE,
      protection: BOTH,
      shared: false,
      bufferPfn: 0,
      offsetPages: 0,
    }),
  mprotect: (_shared, { machine, mm }) => doMprotect(machine, mm, ADDRESS, PAGE_BYTES, VM_READ),
  mremap: (_shared, { machine, mm }) =>
    doMremap(machine, mm, {
      address: ADDRESS,
      oldLengthBytes: PAGE_BYTES,
      newLengthBytes: PAGE_BYTES,
      mayMove: true,
      to: ADDRESS + 8 * PAGE_BYTES,
    }),
  fork: (_shared, { machine, mm }) => doFork(machine, mm),
  *view(_shared, { machine, mm }) {
    const hold = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true);
    if (hold > 0) yield* viewClose(machine, hold);
  },
  *reap(_shared, { machine, mm }) {
    yield* mm.mmapLock.downRead();
    yield* zapNonBlocking(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1);
    yield* mm.mmapLock.upRead();
  },
  /**
   * The leaf of the page table goes with it: the only two pages of it that are mapped lie in the
   * range.
   */
  munmapOfLeaf: (_shared, { machine, mm }) => doMunmap(machine, mm, 0, LEAF_WORDS * PAGE_BYTES),
  mremapOfLeaf: (_shared, { machine, mm }) =>
    doMremap(machine, mm, {
      address: ADDRESS,
      oldLengthBytes: PAGE_BYTES,
      newLengthBytes: PAGE_BYTES,
      mayMove: true,
      to: ADDRESS + 2 * LEAF_WORDS * PAGE_BYTES,
    }),
  translate: (_shared, { machine, mm }) =>
    orFault(cpuTranslate(machine, mm, HARNESS_PAGE, false, ADDRESS)),
  *load(_shared, harness) {
    const cpu = new HarnessCpu(harness);
    yield* orFault(cpu.load(ADDRESS));
    yield* orFault(cpu.load(ADDRESS));
  },
  store: (_shared, harness) => orFault(new HarnessCpu(harness).store(ADDRESS, 1)),
  add: (_shared, harness) => orFault(new HarnessCpu(harness).add(ADDRESS, 1)),
  readBytes: (_shared, { machine, mm }) =>
    orFault(transfer(machine, mm, ADDRESS, new Uint8Array(8), false)),
  writeBytes: (_shared, { machine, mm }) =>
    orFault(transfer(machine, mm, ADDRESS, new Uint8Array(8), true)),
  *readView(_shared, { machine, mm }) {
    const hold = yield* viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, false);
    if (hold > 0) yield* viewClose(machine, hold);
  },
  maps: (_shared, { machine, mm }) => readMaps(machine, mm),
  pagemap: (_shared, { machine, mm }) => readPagemap(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 2),
  kernelLoad: ({ world }, harness) =>
    inKernel(world, harness, (cache) => drop(callInSteps(cache.u32, "load", ADDRESS))),
  kernelStore: ({ world }, harness) =>
    inKernel(world, harness, (cache) => callInSteps(cache.u32, "store", ADDRESS, 1)),
  deviceRead: ({ world }, harness) =>
    withService(world, harness, (service) => COMMANDS.read.run(service, request())),
  deviceWrite: ({ world }, harness) =>
    withService(world, harness, (service) => COMMANDS.write.run(service, request())),
  deviceSnapshot: ({ world }, harness) =>
    withService(world, harness, (service) => COMMANDS.snapshot.run(service, request())),
  *mirror({ others }, _harness, number) {
    const other = others[number];
    if ((yield* other.register()) === 0) yield* other.unregister();
  },
};

/** A fault that nothing helps is an answer like others. */
function* orFault(task: Task<unknown>): Task<void> {
  try {
    yield* task;
  } catch (error) {
    if (!(error instanceof SegmentationFault)) throw error;
  }
}

function* drop(task: Task<unknown>): Task<void> {
  yield* task;
}

function request(): CommandRequest {
  return { address: ADDRESS, lengthBytes: PAGE_BYTES, bytes: new Uint8Array(PAGE_BYTES) };
}

function scenarioOf(names: readonly string[], present: number, shared: boolean): AnyScenario {
  const tasks = names.map((name, i) => {
    const operation = operations[name]!; // a name of the table above
    return [
      `${name}${i}`,
      (s: Shared, harness: HmmHarness) => operation(s, harness, i === 0 ? 0 : 1),
    ] as const;
  });
  return harnessScenario<Shared>({
    name: `${names.join(" and ")}, ${present === 0 ? "absent" : "present"}${shared ? ", shared" : ""}`,
    harness: shared ? { pages: 0, arenaWords: 16_384 } : { pages: 2, present, arenaWords: 16_384 },
    setup(harness) {
      if (shared) harness.map(HARNESS_PAGE, 2, BOTH, true);
      return {
        world: makeDevice(harness, 2),
        device: HarnessDevice.registered(harness),
        others: [new HarnessDevice(harness), new HarnessDevice(harness)] as const,
      };
    },
    tasks: Object.fromEntries(tasks),
  });
}

/** Names of the operations, those that change or fault mappings first. */
export const OPERATIONS: readonly string[] = Object.keys(operations);
/** So many of them: the rest are accesses by value, bytes and views, and the device. */
export const MAPPING_OPERATIONS: number = OPERATIONS.indexOf("munmapOfLeaf");

const situations = [
  [0, false],
  [2, false],
  [0, true],
] as const;

/**
 * What two operations hide, in the chosen situation of the pages (absent, present, shared) or in
 * all.
 */
export function hiddenIn(first: string, second: string, situation?: number): string[] {
  const chosen =
    situation === undefined ? situations : [situations[situation % situations.length]!];
  const hidden = new Set<string>();
  for (const [present, shared] of chosen) {
    const scenario = scenarioOf([first, second], present, shared);
    const options = { engine: "random", executions: EXECUTIONS, checkDeterminism: false } as const;
    for (const { kind, message, sites } of exploreEveryAccess(scenario, options).findings) {
      const places = sites.map(({ place }) => place ?? "").join(" and ");
      if (harmless.some((place) => places.includes(place))) continue;
      hidden.add(`${kind}: ${message} at ${places} (${scenario.name})`);
    }
  }
  return [...hidden];
}
