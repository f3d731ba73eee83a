/**
 * @module The start and the end of an invalidation of one page, with 1, 100 and 10,000 ranges
 * registered elsewhere in its address space. The ranges are put into the tree as registering does
 * it, but belong to no thread, which may have only some hundred.
 */

import { Hmm } from "../src/hmm/hmm-struct.ts";
import { HmmMirror, HmmMirrorRecord } from "../src/hmm/mirror-record.ts";
import { registerMirrorOps } from "../src/hmm/mirror/mirror-ops.ts";
import { hmmMirrorRegister, hmmMirrorUnregister } from "../src/hmm/mirror/mirror.ts";
import { HmmRangeRecord, startSequence } from "../src/hmm/range-record.ts";
import { addRange, removeRange } from "../src/hmm/range-tree.ts";
import { AddressSpace } from "../src/index.ts";
import { type Struct, type StructView, embedStruct, struct } from "../src/memory/layout/struct.ts";
import { EVENT_CLEAR, invalidateRange } from "../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../src/notifier/mmu-notifier.ts";
import { errnoName } from "../src/sync/errno.ts";
import { type Task, doneNumber } from "../src/sync/tasks/task.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";
import { inside } from "../test/inside.ts";

const FIRST_PAGE = 1024;
const APART_PAGES = 4;

interface Driver extends StructView {
  readonly mirror: HmmMirrorRecord;
}
const Driver: Struct<Driver> = struct<Driver>("benchRangesDriver", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
});

const OPS: number = registerMirrorOps("bench driver of ranges", {
  invalidate: () => doneNumber(0),
});

/** A space with a mirror and so many ranges of one page, `APART_PAGES` apart. */
class Watched {
  readonly space: AddressSpace;
  readonly #mirror: HmmMirror;
  readonly #hmm: Hmm;
  readonly #records: HmmRangeRecord[] = [];

  private constructor(space: AddressSpace, mirror: HmmMirror, hmm: Hmm) {
    this.space = space;
    this.#mirror = mirror;
    this.#hmm = hmm;
  }

  static async open(ranges: number): Promise<Watched> {
    const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
    const { machine, mm } = inside(space);
    const driver = Driver.at(machine.memory, inside(space).runSync(machine.heap.alloc(Driver)));
    const mirror = new HmmMirror(machine, driver.mirror.at);
    mirror.init(OPS);
    inside(space).runSync(mm.mmapLock.downWrite());
    const errno = inside(space).runSync(hmmMirrorRegister(mirror, mm));
    inside(space).runSync(mm.mmapLock.upWrite());
    if (errno !== 0) throw new Error(`the benchmark's set-up failed: ${errnoName(errno)}`);
    const watched = new Watched(space, mirror, Hmm.at(machine.memory, mm.hmm));
    for (let i = 0; i < ranges; i++)
      inside(space).runSync(watched.#add(FIRST_PAGE + i * APART_PAGES));
    return watched;
  }

  *#add(page: number): Task<void> {
    const { memory, heap } = inside(this.space).machine;
    const record = HmmRangeRecord.at(memory, yield* heap.alloc(HmmRangeRecord));
    record.startPage = page;
    record.endPage = page + 1;
    yield* this.#hmm.rangesLock.lock();
    addRange(this.#hmm, record);
    yield* startSequence(this.#hmm, record);
    yield* this.#hmm.rangesLock.unlock();
    this.#records.push(record);
  }

  /** Nanoseconds of one of `count` invalidations, of pages between the ranges. */
  time(count: number): number {
    const startMs = performance.now();
    inside(this.space).runSync(this.#invalidate(count));
    return ((performance.now() - startMs) * 1e6) / count;
  }

  *#invalidate(count: number): Task<void> {
    const { machine, mm } = inside(this.space);
    for (let i = 0; i < count; i++) {
      const near = (i * 7919) % this.#records.length;
      const page = FIRST_PAGE + near * APART_PAGES + 1;
      const range = invalidateRange(mm, page, page + 1, EVENT_CLEAR);
      yield* mmuNotifierInvalidateRangeStart(machine, range);
      yield* mmuNotifierInvalidateRangeEnd(machine, range);
    }
  }

  async close(): Promise<void> {
    const { space } = this;
    for (const record of this.#records) removeRange(this.#hmm, record);
    inside(space).runSync(hmmMirrorUnregister(this.#mirror));
    await space[Symbol.asyncDispose]();
  }
}

export async function measureRangeInvalidation(options: MeasureOptions): Promise<Measurement> {
  const count = options.isQuick ? 500 : 20_000;
  const rounds = roundsOf(options);
  const onRound = roundCounter(2 * rounds, options);
  const one = await Watched.open(1);
  const readings: Reading[] = [];
  for (const ranges of [100, 10_000]) {
    const many = await Watched.open(ranges);
    const label = `${ranges} ranges`;
    const ours = (): number => many.time(count);
    const plain = (): number => one.time(count);
    readings.push(await measurePairs({ label, unit: "ns", rounds, onRound, ours, plain }));
    await many.close();
  }
  await one.close();
  return { readings };
}
