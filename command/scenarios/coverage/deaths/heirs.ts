/**
 * @module What a dead thread owned, released by one that dies, too (inheriting.ts): a view, a range
 * and a mirror, whole spaces, devices, transfers of a file. In the twins what a thread releases is
 * nobody's, or it gives a thing back a step before its list knows.
 */

import { HARNESS_PAGE, type HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HarnessDevice } from "../../../../src/checker/harness/harness-device.ts";
import type { FindingKind } from "../../../../src/checker/findings/finding.ts";
import type { AnyScenario } from "../../../../src/checker/scenario.ts";
import { closeDevice, openDevice } from "../../../../src/devices/software/open-device.ts";
import { WEBGPU_DEVICE_OPS } from "../../../../src/devices/webgpu-record/mirror-ops.ts";
import {
  createRecord,
  endRecord,
  registerRecord,
} from "../../../../src/devices/webgpu-record/record-life.ts";
import { hmmRangeAlloc, hmmRangeRegister } from "../../../../src/hmm/range/range.ts";
import { type Struct, type StructView, struct, u32 } from "../../../../src/memory/layout/struct.ts";
import { Machine } from "../../../../src/memory/machine.ts";
import { MAP_FIXED_NOREPLACE, doMmap } from "../../../../src/mm/calls/mmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { mmCreateListed } from "../../../../src/mm/lifetime/mm.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import {
  IO_READ,
  SourceIo,
  endPageOf,
  ioBegin,
  noteMarks,
  runOfIo,
} from "../../../../src/mm/source/io.ts";
import { claim } from "../../../../src/mm/source/source-table.ts";
import { PENDING } from "../../../../src/mm/source/pager.ts";
import { beginWrite, readPages } from "../../../../src/mm/source/transfer.ts";
import { viewOpen } from "../../../../src/mm/view/view-open.ts";
import {
  CACHE_READING,
  PageCache,
  backingOf,
  cacheSlot,
  makeCacheEntry,
} from "../../../../src/mm/vma/page-cache.ts";
import { VM_READ, VM_WRITE } from "../../../../src/mm/vma/vma.ts";
import { agentRecord } from "../../../../src/sync/control-block.ts";
import { assert, bug } from "../../../../src/sync/errors.ts";
import {
  addResource,
  registerHeir,
  registerReleaser,
  removeResource,
  resourceKind,
} from "../../../../src/sync/lockdep/resources.ts";
import { access } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type StoreStage, makeStage, storeWord } from "../mm/store-stage.ts";
import { inheritance, inheriting } from "./inheriting.ts";
import { ONE_STORE_OPS } from "./told-device.ts";

/* What the twins own: an object without parts. */

interface Thing extends StructView {
  given: number;
}

const Thing: Struct<Thing> = struct<Thing>("inheritedThing", {
  given: u32("owner", "for the size"),
});

const LEAKY: number = resourceKind("thing without an heir");
registerReleaser(LEAKY, function* (memory, at) {
  yield* access(memory, "read", at, 1, "between");
  yield* Machine.of(memory).heap.free(Thing, at);
});

const CARELESS: number = resourceKind("thing with a careless heir");
registerHeir(CARELESS, function* (memory, at, slot) {
  const machine = Machine.of(memory);
  yield* machine.heap.free(Thing, at);
  yield* access(memory, "read", agentRecord(1), 1, "between");
  if (slot >= 0) removeResource(memory, slot);
});

function ownThing(harness: HmmHarness, kind: number): void {
  const { machine } = harness;
  const at = harness.run(machine.heap.alloc(Thing));
  addResource(machine.memory, kind, at);
}

/** The twins own what no scenario does: they are the same for all, and stand beside one of them. */
function twinsOf(name: string): AnyScenario[] {
  const twin = (what: string, summary: string, kind: number, expects: FindingKind): AnyScenario => {
    const own = (harness: HmmHarness): void => ownThing(harness, kind);
    return inheritance(
      { name: `${name}/${what}`, summary, prepare: () => undefined, own },
      expects,
    );
  };
  return [
    twin("leaky", "What a thread releases is nobody's meanwhile.", LEAKY, "assertion"),
    twin(
      "careless",
      "A thread gives a thing back a step before its list knows.",
      CARELESS,
      "use-after-free",
    ),
  ];
}

/* What is owned. */

/** A driver that needs no lock; what its first registration makes is there. */
function prepareDevice(harness: HmmHarness): HarnessDevice {
  harness.run(HarnessDevice.registered(harness, ONE_STORE_OPS).unregister());
  return new HarnessDevice(harness, ONE_STORE_OPS);
}

function ownOfSpace(harness: HmmHarness, device: HarnessDevice): void {
  const { machine, mm } = harness;
  assert(harness.run(device.register()) === 0, "the mirror can be registered");
  const range = harness.run(hmmRangeAlloc(machine, { pfns: new Uint32Array(1) }));
  assert(typeof range !== "number", "a range can be had");
  const start = HARNESS_PAGE * PAGE_BYTES;
  const errno = harness.run(hmmRangeRegister(range, device.mirror, start, start + PAGE_BYTES));
  assert(errno === 0, `the range answered ${errno}`);
  const view = harness.run(viewOpen(machine, mm, HARNESS_PAGE, HARNESS_PAGE + 1, true));
  assert(view > 0, `the view answered ${view}`);
}

/** Its user is the only one: whoever drops it takes the space down. */
function ownWholeSpace(harness: HmmHarness): void {
  const { machine } = harness;
  const at = harness.run(mmCreateListed(machine, {}));
  assert(at > 0, "a space can be had");
  const mm = Mm.at(machine.memory, at);
  const request = { address: HARNESS_PAGE * PAGE_BYTES, lengthBytes: PAGE_BYTES };
  const kind = { protection: VM_READ | VM_WRITE, shared: false, bufferPfn: 0, offsetPages: 0 };
  const placement = MAP_FIXED_NOREPLACE;
  const mapped = harness.run(doMmap(machine, mm, { ...request, ...kind, placement }));
  assert(mapped > 0, `the mapping answered ${mapped}`);
  assert(harness.run(cpuFault(machine, mm, HARNESS_PAGE, true)) === 0, "a page can be had");
}

function ownDevice(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const options = { memoryBytes: PAGE_BYTES, threads: 1, faultTimeoutMs: 2 ** 30 };
  const opened = harness.run(openDevice(machine, mm, options));
  assert(typeof opened !== "number", "a device can be had");
}

function ownWebGpuDevice(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const record = harness.run(createRecord(machine, 1));
  assert(typeof record !== "number", "a record can be had");
  const errno = harness.run(registerRecord(machine, record, mm, WEBGPU_DEVICE_OPS));
  assert(errno === 0, `the mirror answered ${errno}`);
}

/** The lists of devices, and what else is made once. */
function prepareDevices(harness: HmmHarness): void {
  const { machine, mm } = harness;
  const options = { memoryBytes: PAGE_BYTES, threads: 1, faultTimeoutMs: 2 ** 30 };
  const opened = harness.run(openDevice(machine, mm, options));
  assert(typeof opened !== "number", "a device can be had");
  harness.run(closeDevice(machine, opened));
  const record = harness.run(createRecord(machine, 0));
  assert(typeof record !== "number", "a record can be had");
  harness.run(endRecord(machine, record));
}

const FILE_PAGES = 3;

/** Of three pages two are dirty, and one is absent. */
function prepareFile(harness: HmmHarness): StoreStage {
  const stage = makeStage(harness, { pages: FILE_PAGES });
  harness.run(storeWord(harness, 9, 0));
  harness.run(storeWord(harness, 9, 1));
  return stage;
}

/** A claim, a write-back of two pages, and a read of one that has not been answered. */
function ownTransfers(harness: HmmHarness, { cache: at }: StoreStage): void {
  const { machine } = harness;
  const cache = PageCache.at(machine.memory, at);
  const source = backingOf(machine, at) ?? bug("the cache has no source");
  harness.run(claim(machine, at));
  const run = harness.run(beginWrite(machine, cache, source, 0, FILE_PAGES));
  assert(typeof run === "object", "there is something to write");
  const pager = {
    wantsZeroes: false,
    read: () => PENDING,
    write: () => PENDING,
    sizeBytes: () => 0,
  };
  const errno = harness.run(readPages(machine, cache, source, pager, 2, 1));
  assert(errno === 0, `the read answered ${errno}`);
}

/** Its pages are absent, and the table for them is there. */
function prepareAbsent(harness: HmmHarness): StoreStage {
  const stage = makeStage(harness, { pages: FILE_PAGES });
  const { machine } = harness;
  harness.run(cacheSlot(machine, PageCache.at(machine.memory, stage.cache), 0, 0));
  return stage;
}

/** A read of one page, which has got more frames in a row than that, and still has them. */
function ownRow(harness: HmmHarness, { cache: at }: StoreStage): void {
  const { machine } = harness;
  const { memory, ram } = machine;
  const cache = PageCache.at(memory, at);
  const source = backingOf(machine, at) ?? bug("the cache has no source");
  const io = SourceIo.at(memory, harness.run(ioBegin(machine, at, IO_READ, 0, 0)));
  const slot = harness.run(cacheSlot(machine, cache, 0, 0));
  const pfn = harness.run(ram.allocRun(FILE_PAGES, false, false, runOfIo(io, FILE_PAGES)));
  assert(slot > 0 && pfn > 0, "the read can be begun");
  io.isRunUsed = 1;
  ram.refs.setMapping(pfn, at);
  noteMarks(source, io, 0);
  memory.words[slot] = makeCacheEntry(pfn, CACHE_READING);
  memory.words[endPageOf(io)] = 1;
}

export const heirs: readonly Covered[] = [
  inheriting(
    "devices",
    {
      name: "views",
      summary:
        "A thread that releases a dead one's view, range and mirror dies at any step, and another goes on.",
      runs: [
        "mm/view/view-open.closeHold",
        "hmm/range/range.leaveRegistration",
        "hmm/mirror/mirror.orphanRanges",
      ],
      prepare: prepareDevice,
      own: ownOfSpace,
    },
    twinsOf,
  ),
  inheriting("devices", {
    name: "spaces",
    summary: "A thread that takes a dead one's space down dies at any step, and another goes on.",
    runs: ["mm/lifetime/mm.mmExit"],
    prepare: () => undefined,
    own: ownWholeSpace,
  }),
  inheriting("devices", {
    name: "devices",
    summary:
      "A thread that ends a dead one's software device dies at any step, and another goes on.",
    runs: [
      "devices/software/device-state.orphanDevice",
      "devices/software/device-state.freeDevice",
    ],
    prepare: prepareDevices,
    own: ownDevice,
  }),
  inheriting("devices", {
    name: "webgpu-devices",
    summary: "A thread that ends a dead one's WebGPU device dies at any step, and another goes on.",
    runs: [
      "devices/webgpu-record/record-life.orphanRecord",
      "devices/webgpu-record/record-life.freeRecord",
    ],
    prepare: prepareDevices,
    own: ownWebGpuDevice,
  }),
  inheriting("devices", {
    name: "transfers",
    summary:
      "A thread that ends a dead one's transfers of a file dies at any step, and another goes on.",
    runs: ["mm/source/io.releaseDead", "mm/source/source-table.dropClaim"],
    pages: 0,
    prepare: prepareFile,
    own: ownTransfers,
  }),
  inheriting("devices", {
    name: "read-rows",
    summary:
      "A thread that gives back a dead one's frames for a read dies at any step, and another goes on.",
    runs: ["mm/source/io.releaseDead", "mm/source/io.putRest"],
    pages: 0,
    prepare: prepareAbsent,
    own: ownRow,
  }),
];
