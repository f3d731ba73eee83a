/**
 * @module The walk of hmmRangeSnapshot over 1 GiB of present pages, against a C program
 * (native/walk.c) that walks the same table. The pages are made present by faults and never touched
 * otherwise, so their frames cost the machine no memory.
 */

import { HmmMirror, HmmMirrorRecord } from "../src/hmm/mirror-record.ts";
import { registerMirrorOps } from "../src/hmm/mirror/mirror-ops.ts";
import { hmmMirrorRegister, hmmMirrorUnregister } from "../src/hmm/mirror/mirror.ts";
import {
  type HmmRange,
  hmmRangeAlloc,
  hmmRangeFree,
  hmmRangeRegister,
  hmmRangeUnregister,
} from "../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../src/hmm/walk/snapshot.ts";
import { AddressSpace } from "../src/index.ts";
import { type Struct, type StructView, embedStruct, struct } from "../src/memory/layout/struct.ts";
import { cpuFault } from "../src/mm/fault/cpu-fault.ts";
import { errnoName } from "../src/sync/errno.ts";
import type { Task } from "../src/sync/tasks/task.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { NativeWalk } from "./native-walk.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";
import { inside } from "../test/inside.ts";

const MiB = 2 ** 20;
const PAGE_BYTES = 4096;

interface Driver extends StructView {
  readonly mirror: HmmMirrorRecord;
}
const Driver: Struct<Driver> = struct<Driver>("benchDriver", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
});

/** Nobody invalidates anything here. */
const OPS: number = registerMirrorOps("bench driver", {
  *invalidate(): Task<number> {
    return 0;
  },
});

function* expectDone(task: Task<number>): Task<void> {
  const errno = yield* task;
  if (errno !== 0) throw new Error(`the benchmark's set-up failed: ${errnoName(errno)}`);
}

export function* makePresent(space: AddressSpace, startPage: number, endPage: number): Task<void> {
  const { machine, mm } = inside(space);
  for (let page = startPage; page < endPage; page++)
    yield* expectDone(cpuFault(machine, mm, page, true));
}

export function* openMirror(space: AddressSpace): Task<HmmMirror> {
  const { machine, mm } = inside(space);
  const driver = Driver.at(machine.memory, yield* machine.heap.alloc(Driver));
  const mirror = new HmmMirror(machine, driver.mirror.at);
  mirror.init(OPS);
  yield* mm.mmapLock.downWrite();
  yield* expectDone(hmmMirrorRegister(mirror, mm));
  yield* mm.mmapLock.upWrite();
  return mirror;
}

export function* openRange(
  mirror: HmmMirror,
  address: number,
  lengthBytes: number,
  pageShift: number = 12,
): Task<HmmRange> {
  const range = yield* hmmRangeAlloc(mirror.machine, {
    pfns: new Uint32Array(lengthBytes / 2 ** pageShift),
  });
  if (typeof range === "number")
    throw new Error(`the benchmark's set-up failed: ${errnoName(range)}`);
  yield* expectDone(hmmRangeRegister(range, mirror, address, address + lengthBytes, pageShift));
  return range;
}

/** Nanoseconds of each of `walks` snapshots. */
export function* walkRepeatedly(
  space: AddressSpace,
  range: HmmRange,
  walks: number,
  read: (range: HmmRange) => Task<number> = hmmRangeSnapshot,
): Task<number> {
  const { mm } = inside(space);
  yield* mm.mmapLock.downRead();
  const startMs = performance.now();
  for (let i = 0; i < walks; i++) {
    const pages = yield* read(range);
    if (pages !== range.pfns.length) throw new Error(`the walk stopped: ${pages}`);
  }
  const ns = ((performance.now() - startMs) * 1e6) / walks;
  yield* mm.mmapLock.upRead();
  return ns;
}

export async function measureSnapshotWalk(options: MeasureOptions): Promise<Measurement> {
  const lengthBytes = (options.isQuick ? 64 : 1024) * MiB;
  const walks = options.isQuick ? 20 : 200;
  const rounds = roundsOf(options);
  const onRound = roundCounter(rounds, options);
  await using space = await AddressSpace.create({ ramBytes: lengthBytes + 16 * MiB });
  const address = await space.mmap(lengthBytes);
  inside(space).runSync(
    makePresent(space, address / PAGE_BYTES, (address + lengthBytes) / PAGE_BYTES),
  );
  const mirror = inside(space).runSync(openMirror(space));
  const range = inside(space).runSync(openRange(mirror, address, lengthBytes));
  inside(space).runSync(walkRepeatedly(space, range, walks));
  const native = NativeWalk.make(space, range);
  if (typeof native === "string") return { notMeasured: native };
  try {
    const reading = await measurePairs({
      label: "ns a walk",
      unit: "ns a walk",
      rounds,
      onRound,
      ours: () => inside(space).runSync(walkRepeatedly(space, range, walks)),
      plain: () => native.run(walks),
    });
    return { readings: [{ ...reading, label: `${range.pfns.length} entries` }] };
  } finally {
    native.dispose();
    inside(space).runSync(hmmRangeUnregister(range));
    inside(space).runSync(hmmRangeFree(range));
    inside(space).runSync(hmmMirrorUnregister(mirror));
  }
}
