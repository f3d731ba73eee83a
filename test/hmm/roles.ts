/** @module What threads do in the hmm tests. */

import assert from "node:assert/strict";
import { DEFAULT_ENCODING } from "../../src/hmm/entry.ts";
import { hmmRangeFault, hmmRangeFaultUnlockedTimeout } from "../../src/hmm/walk/fault.ts";
import { hmmMirrorRegister, hmmMirrorUnregister } from "../../src/hmm/mirror/mirror.ts";
import {
  type HmmRange,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
  withHmmRange,
} from "../../src/hmm/range/range.ts";
import { readSequence, sequenceIsValid } from "../../src/hmm/range-record.ts";
import { hmmRangeValid } from "../../src/hmm/range/valid.ts";
import type { Machine } from "../../src/memory/machine.ts";
import { cpuFault } from "../../src/mm/fault/cpu-fault.ts";
import { MADV_DONTNEED, doMadvise } from "../../src/mm/calls/madvise.ts";
import type { Mm } from "../../src/mm/mm-struct.ts";
import { MAP_FIXED_REPLACE, doMmap } from "../../src/mm/calls/mmap.ts";
import { doMprotect } from "../../src/mm/calls/mprotect.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { viewClose, viewOpen } from "../../src/mm/view/view-open.ts";
import { VM_READ, VM_WRITE } from "../../src/mm/vma/vma.ts";
import { zapNonBlocking } from "../../src/mm/entries/zap.ts";
import { EBUSY, EFAULT, EPERM } from "../../src/sync/errno.ts";
import { type Task, doneBoolean } from "../../src/sync/tasks/task.ts";

import { mustHave, withMmapRead, withMmapWrite } from "./harness.ts";
import {
  FIRST_PAGE,
  SharedDevice,
  TABLE_PAGES,
  faultOfTable,
  makeSharedDevice,
  mirrorOf,
  programShared,
} from "./shared-device.ts";
import type { HmmThreadRequest } from "./threads.ts";
import { fractionsOf } from "../dice.ts";

export interface RoleContext {
  readonly machine: Machine;
  readonly mm: Mm;
  readonly request: HmmThreadRequest;
  readonly say: (said: unknown) => void;
}

const READ = DEFAULT_ENCODING.flags.valid;
const WRITE = READ | DEFAULT_ENCODING.flags.write;

function spanFrom(random: () => number, pagesMax: number): { startPage: number; endPage: number } {
  const startPage = FIRST_PAGE + Math.floor(random() * TABLE_PAGES);
  const pages = 1 + Math.floor(random() * Math.min(pagesMax, FIRST_PAGE + TABLE_PAGES - startPage));
  return { startPage, endPage: startPage + pages };
}

/** What a device's thread counts. */
export interface ServiceReport {
  readonly programmed: number;
  readonly collisions: number;
}

/** Serves faults of random spans, as a driver should; `isValid` is the recheck. */
function* serve(
  { machine, mm, request }: RoleContext,
  isValid: (range: HmmRange) => Task<boolean>,
): Task<ServiceReport> {
  const device = SharedDevice.at(machine.memory, request.driver);
  const mirror = mirrorOf(machine, device);
  const random = fractionsOf(request.seed);
  const range = mustHave(yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(TABLE_PAGES) }));
  const { driverLock } = device;
  let programmed = 0;
  let collisions = 0;
  function* tryOnce(): Task<number> {
    const pages = yield* hmmRangeFaultUnlockedTimeout(range, 1000);
    if (pages < 0) return pages;
    yield* driverLock.lock();
    const isGood = yield* isValid(range);
    if (isGood) programShared(device, range);
    const fault = faultOfTable(machine, mm, device);
    yield* driverLock.unlock();
    assert.equal(fault, undefined);
    if (isGood) programmed++;
    else collisions++;
    return 0;
  }
  for (let round = 0; round < request.rounds; round++) {
    const { startPage, endPage } = spanFrom(random, 16);
    range.defaultFlags = random() < 0.5 ? READ : WRITE;
    const answer = yield* withHmmRange(
      range,
      mirror,
      startPage * PAGE_BYTES,
      endPage * PAGE_BYTES,
      tryOnce,
    );
    assert.ok([0, EBUSY, EFAULT, EPERM].includes(answer), `the fault answered ${answer}`);
  }
  yield* hmmRangeFree(range);
  return { programmed, collisions };
}

/** One random change of the mappings. */
function* changeOnce({ machine, mm }: RoleContext, random: () => number): Task<void> {
  const { startPage, endPage } = spanFrom(random, 8);
  const address = startPage * PAGE_BYTES;
  const lengthBytes = (endPage - startPage) * PAGE_BYTES;
  const choice = random();
  if (choice < 0.3) {
    yield* doMadvise(machine, mm, address, lengthBytes, MADV_DONTNEED);
  } else if (choice < 0.5) {
    const place = {
      lengthBytes,
      address,
      placement: MAP_FIXED_REPLACE,
      protection: VM_READ | VM_WRITE,
    };
    yield* doMmap(machine, mm, { ...place, shared: false, bufferPfn: 0, offsetPages: 0 });
  } else if (choice < 0.65) {
    yield* doMprotect(
      machine,
      mm,
      address,
      lengthBytes,
      random() < 0.5 ? VM_READ : VM_READ | VM_WRITE,
    );
  } else if (choice < 0.75) {
    const hold = yield* viewOpen(machine, mm, startPage, startPage + 1, true);
    if (hold > 0) yield* viewClose(machine, hold);
  } else if (choice < 0.85) {
    yield* withMmapRead(mm, () => zapNonBlocking(machine, mm, startPage, endPage));
  } else {
    for (let page = startPage; page < endPage; page++)
      yield* cpuFault(machine, mm, page, random() < 0.5);
  }
}

/** Runs until it is terminated. */
function* forEver(device: SharedDevice): Task<void> {
  yield* device.parking.waitEvent(() => false, Infinity);
}

/** A range of the device's that stays registered. */
function* holdRange(context: RoleContext): Task<void> {
  const { machine, request, say } = context;
  const device = SharedDevice.at(machine.memory, request.driver);
  const range = mustHave(yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(4) }));
  const start = FIRST_PAGE * PAGE_BYTES;
  assert.equal(
    yield* hmmRangeRegister(range, mirrorOf(machine, device), start, start + 4 * PAGE_BYTES),
    0,
  );
  say("holding");
  yield* forEver(device);
}

/** A device of its own, whose mirror stays registered. */
function* holdMirror({ machine, mm, say }: RoleContext): Task<void> {
  const device = yield* makeSharedDevice(machine);
  assert.equal(yield* withMmapWrite(mm, () => hmmMirrorRegister(mirrorOf(machine, device), mm)), 0);
  say(device.at);
  yield* forEver(device);
}

/** Registers and unregisters as fast as it can. */
function* churn(context: RoleContext): Task<void> {
  const { machine, mm, request, say } = context;
  const random = fractionsOf(request.seed);
  const shared = SharedDevice.at(machine.memory, request.driver);
  const range = mustHave(yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(TABLE_PAGES) }));
  say("churning");
  for (;;) {
    const own = yield* makeSharedDevice(machine);
    const mirror = mirrorOf(machine, own);
    assert.equal(yield* withMmapWrite(mm, () => hmmMirrorRegister(mirror, mm)), 0);
    for (let i = 0; i < 4; i++) {
      const { startPage, endPage } = spanFrom(random, 16);
      const on = random() < 0.5 ? mirror : mirrorOf(machine, shared);
      assert.equal(
        yield* hmmRangeRegister(range, on, startPage * PAGE_BYTES, endPage * PAGE_BYTES),
        0,
      );
      range.defaultFlags = READ;
      const answer = yield* withMmapRead(mm, () => hmmRangeFault(range));
      assert.ok(answer === endPage - startPage || answer === EBUSY, `the fault answered ${answer}`);
      yield* hmmRangeUnregister(range);
    }
    yield* hmmMirrorUnregister(mirror);
    yield* machine.heap.free(SharedDevice, own.at);
  }
}

export type RoleName = "device" | "flawedDevice" | "changer" | "holdRange" | "holdMirror" | "churn";

export const roles: Readonly<Record<RoleName, (context: RoleContext) => Task<unknown>>> = {
  *device(context: RoleContext): Task<ServiceReport> {
    return yield* serve(context, hmmRangeValid);
  },
  /** As of 2019. */
  *flawedDevice(context: RoleContext): Task<ServiceReport> {
    return yield* serve(context, (range) =>
      doneBoolean(sequenceIsValid(readSequence(range.record))),
    );
  },
  *changer(context: RoleContext): Task<number> {
    const random = fractionsOf(context.request.seed);
    for (let round = 0; round < context.request.rounds; round++) yield* changeOnce(context, random);
    return context.request.rounds;
  },
  holdRange,
  holdMirror,
  churn,
};
