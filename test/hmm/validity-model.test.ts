/**
 * @module Random ranges and invalidations, compared with a simple model: a range is valid iff no
 * invalidation in flight overlaps it, and none that overlaps it has begun since read-begin.
 * HMM_SEED repeats one run.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { IN_FLIGHT_INLINE } from "../../src/hmm/hmm-struct.ts";
import { type HmmRange, hmmRangeRegister, hmmRangeUnregister } from "../../src/hmm/range/range.ts";
import { hmmRangeSnapshot } from "../../src/hmm/walk/snapshot.ts";
import { hmmStatistics } from "../../src/hmm/mirror/statistics.ts";
import { hmmRangeWaitUntilValid } from "../../src/hmm/range/valid.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { EVENT_CLEAR, type InvalidateRange, invalidateRange } from "../../src/notifier/events.ts";
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from "../../src/notifier/mmu-notifier.ts";
import { EAGAIN, EBUSY } from "../../src/sync/errno.ts";
import { forSeeds } from "./interleaver.ts";
import { FakeDevice, Harness, withMmapWrite, isValidNow } from "./harness.ts";
import { fractionsOf } from "../dice.ts";

const PAGES = 64;
const FIRST = 16;
const STEPS = 400;

/** What the model knows of a registered range. */
interface Known {
  readonly range: HmmRange;
  /**
   * Invalidations in flight that touch it; the ones that only could be counted touch every range.
   */
  readonly touching: Set<InvalidateRange>;
  /** Nothing that touches it has begun since it was read. */
  isFresh: boolean;
}

class Model {
  readonly harness: Harness;
  readonly device: FakeDevice;
  readonly random: () => number;
  readonly known: Known[] = [];
  readonly inFlight: InvalidateRange[] = [];
  readonly idle: HmmRange[] = [];

  /** Only blockable starts, whose record may grow. */
  readonly #isCrowded: boolean;

  constructor(seed: number, isCrowded: boolean) {
    this.#isCrowded = isCrowded;
    this.harness = new Harness({ ramBytes: 2 ** 20, heapBytes: 2 ** 21 });
    this.harness.map(FIRST, PAGES);
    this.device = FakeDevice.registered(this.harness);
    this.random = fractionsOf(seed);
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  span(): { startPage: number; endPage: number } {
    const startPage = FIRST + this.below(PAGES);
    return {
      startPage,
      endPage: startPage + 1 + this.below(Math.min(8, FIRST + PAGES - startPage)),
    };
  }

  register(): void {
    const range = this.idle.pop() ?? this.harness.range({ pages: 8 });
    const { startPage, endPage } = this.span();
    this.harness.must(
      hmmRangeRegister(range, this.device.mirror, startPage * PAGE_BYTES, endPage * PAGE_BYTES),
    );
    const touching = new Set(this.inFlight.filter((one) => touches(one, range)));
    this.known.push({ range, touching, isFresh: touching.size === 0 });
  }

  unregister(): void {
    const [gone] = this.known.splice(this.below(this.known.length), 1);
    if (gone === undefined) return;
    this.harness.run(hmmRangeUnregister(gone.range));
    this.idle.push(gone.range);
  }

  start(): void {
    const { harness } = this;
    const { startPage, endPage } = this.span();
    const blockable = this.#isCrowded || this.random() < 0.7;
    const change = invalidateRange(harness.mm, startPage, endPage, EVENT_CLEAR, { blockable });
    this.device.refusesNonBlockable = this.random() < 0.5;
    const answer = harness.run(
      withMmapWrite(harness.mm, () => mmuNotifierInvalidateRangeStart(harness.machine, change)),
    );
    assert.equal(answer, !blockable && this.device.refusesNonBlockable ? EAGAIN : 0);
    for (const one of this.known) {
      if (!touches(change, one.range)) continue;
      one.isFresh = false; // also by one that gave up: the driver may have swept
      if (answer === 0) one.touching.add(change);
    }
    if (answer === 0) this.inFlight.push(change);
  }

  end(): void {
    const [change] = this.inFlight.splice(this.below(this.inFlight.length), 1);
    if (change === undefined) return;
    const { harness } = this;
    harness.run(
      withMmapWrite(harness.mm, () => mmuNotifierInvalidateRangeEnd(harness.machine, change)),
    );
    for (const one of this.known) one.touching.delete(change);
  }

  read(): void {
    const one = this.known[this.below(this.known.length)];
    if (one === undefined) return;
    const { range } = one;
    const pages = this.harness.reading(() => hmmRangeSnapshot(range));
    assert.equal(pages, one.touching.size === 0 ? range.endPage - range.startPage : EBUSY);
    one.isFresh = one.touching.size === 0;
  }

  check(): void {
    const statistics = this.harness.run(hmmStatistics(this.harness.machine, this.harness.mm));
    assert.equal(statistics?.notifiers, this.inFlight.length);
    assert.equal(statistics?.ranges, this.known.length);
    assert.equal(statistics?.overflow, 0);
    for (const { range, touching, isFresh } of this.known) {
      assert.equal(isValidNow(range), touching.size === 0 && isFresh, String(range));
    }
    const one = this.known[this.below(this.known.length)];
    if (one === undefined) return;
    assert.equal(this.harness.run(hmmRangeWaitUntilValid(one.range, 0)), one.touching.size === 0);
  }

  finish(): void {
    while (this.inFlight.length > 0) this.end();
    while (this.known.length > 0) this.unregister();
    for (const range of this.idle) this.harness.freeRange(range);
    this.device.close();
    this.harness.leave();
  }
}

function touches({ startPage, endPage }: InvalidateRange, range: HmmRange): boolean {
  for (let page = startPage; page < endPage; page++)
    if (page >= range.startPage && page < range.endPage) return true;
  return false;
}

interface Mix {
  readonly register: number;
  readonly unregister: number;
  readonly start: number;
  readonly end: number;
}

/** Runs one seed; returns the most invalidations that were in flight at once. */
function play(seed: number, mix: Mix, isCrowded: boolean): number {
  const model = new Model(seed, isCrowded);
  let most = 0;
  for (let step = 0; step < STEPS; step++) {
    let choice = model.random();
    if ((choice -= mix.register) < 0) model.register();
    else if ((choice -= mix.unregister) < 0) model.unregister();
    else if ((choice -= mix.start) < 0) model.start();
    else if ((choice -= mix.end) < 0) model.end();
    else model.read();
    model.check();
    most = Math.max(most, model.inFlight.length);
  }
  model.finish();
  return most;
}

test("ranges are valid exactly when the model says so", () => {
  forSeeds(12, (seed) => {
    play(seed, { register: 0.2, unregister: 0.15, start: 0.25, end: 0.2 }, false);
  });
});

test("the same with more invalidations in flight than the struct has records for", () => {
  forSeeds(6, (seed) => {
    const most = play(seed, { register: 0.15, unregister: 0.1, start: 0.45, end: 0.15 }, true);
    assert.ok(most > IN_FLIGHT_INLINE, `only ${most}`);
  });
});
