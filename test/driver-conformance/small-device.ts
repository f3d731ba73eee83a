/**
 * @module A small driver with memory of its own, made of the public entry alone, that can be broken
 * in one place at a time: the conformance tests must notice each.
 */

import type { DriverUnderTest } from "../../src/conformance/index.ts";
import {
  DEFAULT_ENCODING,
  DEVICE_PRIVATE,
  DeviceMemory,
  EAGAIN,
  EBUSY,
  EINVAL,
  ENOMEM,
  type Errno,
  HmmMirror,
  HmmMirrorRecord,
  type HmmRange,
  type Machine,
  Mutex,
  PAGE_BYTES,
  SELECT_DEVICE_PRIVATE,
  SELECT_SYSTEM,
  type Struct,
  type StructView,
  type Task,
  type WordArray,
  ZERO_PFN,
  array,
  embed,
  embedStruct,
  endDeviceMemory,
  entryIsValid,
  entryIsWritable,
  entryPfn,
  hmmMirrorForget,
  hmmMirrorRegister,
  hmmMirrorUnregister,
  hmmRangeAlloc,
  hmmRangeCountOwn,
  hmmRangeFault,
  hmmRangeFaultUnlockedTimeout,
  hmmRangeFree,
  hmmRangeMigrate,
  hmmRangeRegister,
  hmmRangeUnregister,
  hmmRangeValid,
  makeDeviceMemory,
  migrateRange,
  mmOfRange,
  mmgetNotZero,
  pointer,
  readFrame,
  registerDeviceMemoryOps,
  registerMirrorOps,
  struct,
  takeDeviceFrame,
  toRam,
  writeFrame,
} from "../../src/driver.ts";

const SLOTS = 8;
const MEMORY_PAGES = 8;
const FAULT_MS = 300;
const ROUNDS_MAX = 100;

/** What is broken. */
export type Breakage =
  | "nothing"
  | "invalidate does nothing"
  | "waits where it may not block"
  | "clears, and answers EAGAIN"
  | "no recheck"
  | "goes on after release"
  | "leaves a range registered"
  | "keeps a reference"
  | "takes EBUSY for final"
  | "tries for ever"
  | "stores by any entry"
  | "no orphaned"
  | "does not clear"
  | "moves nothing back"
  | "leaves its table after a migration"
  | "leaves its memory"
  | "keeps an mm user";

let broken: Breakage = "nothing";

/** Breaks the driver in this thread, until the next call. */
export function breakDriver(how: Breakage): void {
  broken = how;
}

interface SmallDevice extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly lock: Mutex;
  readonly pages: WordArray;
  readonly entries: WordArray;
  own: number;
}

const SmallDevice: Struct<SmallDevice> = struct<SmallDevice>("smallDevice", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
  lock: embed(Mutex, "the page table", "smallDeviceLock"),
  pages: array(SLOTS, "lock", "the page that each entry is for"),
  entries: array(SLOTS, "lock", "what hmm gave for it, or 0"),
  own: pointer("const", "its memory"),
});

function deviceOf({ machine, at }: HmmMirror): SmallDevice {
  return SmallDevice.at(machine.memory, SmallDevice.containerOf(at, "mirror"));
}

/** Its memory belongs to it alone. */
const ownerOf = ({ at }: SmallDevice): number => at;

function clear({ pages, entries }: SmallDevice, startPage: number, endPage: number): void {
  for (let slot = 0; slot < SLOTS; slot++) {
    const page = pages.get(slot) >>> 0;
    if (page >= startPage && page < endPage) entries.set(slot, 0);
  }
}

function* clearLocked(mirror: HmmMirror, startPage: number, endPage: number): Task<void> {
  const device = deviceOf(mirror);
  yield* device.lock.lock();
  clear(device, startPage, endPage);
  yield* device.lock.unlock();
}

const OPS = registerMirrorOps("small device", {
  *invalidate(mirror, { startPage, endPage, blockable, owner }) {
    const device = deviceOf(mirror);
    if (broken === "invalidate does nothing") return 0;
    if (broken === "leaves its table after a migration" && owner === ownerOf(device)) return 0;
    if (blockable || broken === "waits where it may not block") yield* device.lock.lock();
    else if (!(yield* device.lock.tryLock())) {
      if (broken === "clears, and answers EAGAIN") clear(device, startPage, endPage);
      return EAGAIN;
    }
    clear(device, startPage, endPage);
    yield* device.lock.unlock();
    return 0;
  },
  *release(mirror) {
    if (broken !== "goes on after release") yield* clearLocked(mirror, 0, Infinity);
  },
  *orphaned(mirror) {
    if (broken !== "no orphaned") yield* free(mirror.machine, deviceOf(mirror));
  },
});

const MEMORY_OPS = registerDeviceMemoryOps("small device's memory", {
  *migrateToRam({ machine, mm, vma, page }, { owner }) {
    if (broken === "moves nothing back") return EINVAL;
    const args = { machine, mm, vma, startPage: page, endPage: page + 1, owner };
    const result = yield* migrateRange({ ...args, select: SELECT_DEVICE_PRIVATE }, toRam(machine));
    if (typeof result === "number") return result;
    return result.lacking > 0 ? ENOMEM : 0;
  },
});

function* free(machine: Machine, device: SmallDevice): Task<void> {
  if (device.own !== 0 && broken !== "leaves its memory")
    yield* endDeviceMemory(machine, DeviceMemory.at(machine.memory, device.own), 1000);
  yield* hmmMirrorForget(new HmmMirror(machine, device.mirror.at));
  yield* machine.heap.free(SmallDevice, device.at);
}

/** Registers a range over the pages, runs `use`, and unregisters it. */
function* withRange(
  mirror: HmmMirror,
  startPage: number,
  pages: number,
  isWrite: boolean,
  use: (range: HmmRange) => Task<number>,
): Task<number> {
  const { valid, write } = DEFAULT_ENCODING.flags;
  const range = yield* hmmRangeAlloc(mirror.machine, {
    pfns: new Uint32Array(pages),
    defaultFlags: isWrite ? valid | write : valid,
    owner: ownerOf(deviceOf(mirror)),
  });
  if (typeof range === "number") return range;
  const [start, end] = [startPage * PAGE_BYTES, (startPage + pages) * PAGE_BYTES];
  const registered = yield* hmmRangeRegister(range, mirror, start, end);
  const result = registered === 0 ? yield* use(range) : registered;
  if (broken === "leaves a range registered" && result < 0) return result;
  if (registered === 0) yield* hmmRangeUnregister(range);
  yield* hmmRangeFree(range);
  return result;
}

function* transfer(
  mirror: HmmMirror,
  address: number,
  bytes: Uint8Array,
  isWrite: boolean,
): Task<Errno> {
  for (let done = 0; done < bytes.length;) {
    const offset = (address + done) % PAGE_BYTES;
    const part = bytes.subarray(done, done + PAGE_BYTES - offset);
    const page = Math.floor((address + done) / PAGE_BYTES);
    const errno = yield* withRange(mirror, page, 1, isWrite, (range) =>
      transferPart(mirror, range, offset, part, isWrite),
    );
    if (errno !== 0) return errno;
    done += part.length;
  }
  return 0;
}

function* transferPart(
  mirror: HmmMirror,
  range: HmmRange,
  offset: number,
  part: Uint8Array,
  isWrite: boolean,
): Task<Errno> {
  const most = broken === "tries for ever" ? Infinity : ROUNDS_MAX;
  for (let round = 0; round < most; round++) {
    const errno = yield* access(mirror, range.startPage, offset, part, isWrite);
    if (errno !== EBUSY) return errno;
    const pages = yield* fault(range);
    if (pages === EBUSY && broken === "tries for ever") continue;
    if (pages < 0) return pages;
    yield* program(mirror, range);
  }
  return EBUSY;
}

function* fault(range: HmmRange): Task<number> {
  if (broken !== "takes EBUSY for final")
    return yield* hmmRangeFaultUnlockedTimeout(range, FAULT_MS);
  const { mmapLock } = mmOfRange(range);
  yield* mmapLock.downRead();
  const pages = yield* hmmRangeFault(range);
  yield* mmapLock.upRead();
  return pages;
}

function* program(mirror: HmmMirror, range: HmmRange): Task<void> {
  const device = deviceOf(mirror);
  const slot = range.startPage % SLOTS;
  yield* device.lock.lock();
  if ((yield* hmmRangeValid(range)) || broken === "no recheck") {
    const entry = range.pfns[0] ?? 0;
    device.pages.set(slot, range.startPage);
    device.entries.set(slot, entry);
    if (broken === "keeps a reference")
      yield* mirror.machine.ram.refs.pageGet(entryPfn(entry, DEFAULT_ENCODING));
  }
  yield* device.lock.unlock();
}

/** EBUSY: the table does not allow it. */
function* access(
  mirror: HmmMirror,
  page: number,
  offset: number,
  part: Uint8Array,
  isWrite: boolean,
): Task<Errno> {
  const { lock, pages, entries } = deviceOf(mirror);
  const slot = page % SLOTS;
  let errno: Errno = EBUSY;
  yield* lock.lock();
  const entry = pages.get(slot) >>> 0 === page ? entries.get(slot) : 0;
  const isAllowed =
    isWrite && broken !== "stores by any entry"
      ? entryIsWritable(entry, DEFAULT_ENCODING)
      : entryIsValid(entry, DEFAULT_ENCODING);
  if (isAllowed) {
    const move = isWrite ? writeFrame : readFrame;
    errno = yield* move(mirror.machine, entryPfn(entry, DEFAULT_ENCODING), offset, part);
  }
  yield* lock.unlock();
  return errno;
}

function* migrate(mirror: HmmMirror, startPage: number, pages: number): Task<number> {
  const { machine } = mirror;
  const { ram } = machine;
  const device = deviceOf(mirror);
  const owner = ownerOf(device);
  const own = DeviceMemory.at(machine.memory, device.own);
  return yield* withRange(mirror, startPage, pages, false, function* (range) {
    const { mmapLock } = mmOfRange(range);
    yield* mmapLock.downRead();
    const result = yield* hmmRangeMigrate(
      range,
      { select: SELECT_SYSTEM, owner },
      {
        alloc: () => takeDeviceFrame(own),
        *copy(from, to) {
          if (broken === "does not clear" && from === ZERO_PFN) return;
          yield* ram.copyFrame(from, to);
        },
      },
    );
    const count = typeof result === "number" ? result : hmmRangeCountOwn(range, owner);
    yield* mmapLock.upRead();
    return count;
  });
}

/** The driver, whole or as it is broken. */
export const driverUnderTest: DriverUnderTest = {
  opsName: "small device",
  module: new URL(import.meta.url),
  *open(machine, mm) {
    const at = yield* machine.heap.alloc(SmallDevice);
    if (at === 0) return ENOMEM;
    const device = SmallDevice.at(machine.memory, at);
    device.lock.init();
    const mirror = new HmmMirror(machine, device.mirror.at);
    const made = yield* makeDeviceMemory(machine, {
      pages: MEMORY_PAGES,
      type: DEVICE_PRIVATE,
      owner: ownerOf(device),
      opsId: MEMORY_OPS,
    });
    if (typeof made === "number") {
      yield* free(machine, device);
      return made;
    }
    device.own = made.at;
    mirror.init(OPS);
    yield* mm.mmapLock.downWrite();
    const errno = yield* hmmMirrorRegister(mirror, mm);
    yield* mm.mmapLock.upWrite();
    if (errno !== 0) {
      yield* free(machine, device);
      return errno;
    }
    if (broken === "keeps an mm user") yield* mmgetNotZero(mm);
    return mirror;
  },
  *close(mirror) {
    yield* hmmMirrorUnregister(mirror);
    yield* free(mirror.machine, deviceOf(mirror));
  },
  read: (mirror, address, into) => transfer(mirror, address, into, false),
  write: (mirror, address, from) => transfer(mirror, address, from, true),
  *reaches(mirror, page) {
    const { lock, pages, entries } = deviceOf(mirror);
    const slot = page % SLOTS;
    yield* lock.lock();
    const isThere = pages.get(slot) >>> 0 === page && entries.get(slot) !== 0;
    yield* lock.unlock();
    return isThere;
  },
  driverLock: (mirror) => deviceOf(mirror).lock,
  migrate,
};
