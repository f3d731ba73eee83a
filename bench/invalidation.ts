/**
 * @module How long a thread that changes a mapping waits for a device to let go of it. The device's
 * only Worker loads one word of a page over and over, through a read copy; then this thread stores
 * to the page, gives it up or unmaps it. Two times of each: until the call has returned, when the
 * device can reach the old page no more; and until its Worker has seen the new value, for which it
 * takes a fault and copies the page again. Every page is used once: a page that bounced would be
 * left in RAM, and there would be nothing to invalidate.
 */

import { AddressSpace, SoftwareDevice } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { median } from "./figure.ts";
import {
  BALL,
  CHANNEL,
  CONTROL_WORDS,
  COUNT,
  FIRST_PAGE,
  GO,
  IDLE,
  LEAVE,
  LOAD_ONCE,
  ORDER,
  PING_PONG,
  SEEN,
  SPIN_PONG,
  USING,
  WATCH,
} from "./invalidation-job.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const PAGE_BYTES = 4096;
const US_PER_MS = 1000;
/**
 * A device's faults are rare, so the code that serves them is compiled late: after these, ten times
 * as fast as the first of them.
 */
const WARMING_ROUNDS = 20;
/**
 * A kernel that does not answer for so long has failed, and its failure waits for this thread to
 * listen.
 */
const LOST_MS = 10_000;

interface Times {
  /** Microseconds, medians over the pages. */
  readonly returned: number;
  readonly seen: number;
}

class Harness {
  readonly #space: AddressSpace;
  readonly #control: Int32Array;
  readonly #device: SoftwareDevice;
  readonly #count: number;
  readonly #dispatch: Promise<unknown>;

  /** Address of the pages of the running order. */
  #pages: number;

  private constructor(
    space: AddressSpace,
    device: SoftwareDevice,
    control: Int32Array,
    pages: number,
    count: number,
    dispatch: Promise<unknown>,
  ) {
    this.#space = space;
    this.#device = device;
    this.#control = control;
    this.#pages = pages;
    this.#count = count;
    this.#dispatch = dispatch;
  }

  /** Returns when the kernel waits for its first order. */
  static async start(space: AddressSpace, device: SoftwareDevice, count: number): Promise<Harness> {
    const control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_WORDS));
    const steady = await space.mmap(PAGE_BYTES);
    const pages = await space.mmap(count * PAGE_BYTES);
    const channel = new BroadcastChannel(CHANNEL);
    const isAsked = new Promise<void>((resolve) => {
      channel.onmessage = () => {
        channel.postMessage(control);
        resolve();
      };
    });
    const kernel = device.kernel({
      module: new URL("./invalidation-kernel.js", import.meta.url),
      exportName: "serve",
      mayReplay: false, // its answers stand outside of the address space
    });
    const dispatch = kernel.dispatch(1, { args: [steady] });
    await Promise.race([isAsked, dispatch]);
    const harness = new Harness(space, device, control, pages, count, dispatch);
    channel.close();
    harness.pingPong();
    return harness;
  }

  async end(): Promise<void> {
    this.#order(LEAVE);
    await this.#dispatch;
  }

  /** Microseconds of a round trip, the median of many. */
  pingPong(): number {
    const control = this.#control;
    const trips: number[] = [];
    this.#order(PING_PONG);
    for (let i = 0; i < this.#count; i++) {
      const startMs = performance.now();
      Atomics.store(control, BALL, 2 * i + 1);
      Atomics.notify(control, BALL);
      while (Atomics.load(control, BALL) === 2 * i + 1) Atomics.wait(control, BALL, 2 * i + 1);
      trips.push((performance.now() - startMs) * US_PER_MS);
    }
    this.#awaitIdle();
    return median(trips);
  }

  /** The same where neither side sleeps: what two processors need to see each other's stores. */
  spinPong(): number {
    const trips: number[] = [];
    this.#order(SPIN_PONG);
    for (let i = 0; i < this.#count; i++) {
      const startMs = performance.now();
      Atomics.store(this.#control, BALL, 2 * i + 1);
      this.#spinUntil(BALL, 2 * i + 2);
      trips.push((performance.now() - startMs) * US_PER_MS);
    }
    this.#awaitIdle();
    return median(trips);
  }

  /** `change` makes the first word of the page at its address another one. */
  watch(before: number, change: (address: number) => void): Times {
    this.#fill(before);
    this.#order(WATCH);
    const times = this.#timePages(change, SEEN);
    this.#awaitIdle();
    return times;
  }

  /** `change` takes the page away. */
  loadOnce(change: (address: number) => void): Times {
    this.#fill(1);
    this.#order(LOAD_ONCE);
    const times = this.#timePages(change, undefined);
    this.#awaitIdle();
    return times;
  }

  #timePages(change: (address: number) => void, seen: number | undefined): Times {
    const control = this.#control;
    const returned: number[] = [];
    const seenAfter: number[] = [];
    Atomics.store(control, SEEN, 0);
    Atomics.store(control, GO, 0);
    const invalidationsBefore = this.#device.statsSync().invalidations;
    for (let i = 0; i < this.#count; i++) {
      this.#spinUntil(USING, i + 1);
      const startMs = performance.now();
      change(this.#pages + i * PAGE_BYTES);
      returned.push((performance.now() - startMs) * US_PER_MS);
      if (seen !== undefined) this.#spinUntil(seen, i + 1);
      seenAfter.push((performance.now() - startMs) * US_PER_MS);
      Atomics.store(control, GO, i + 1);
    }
    if (this.#device.statsSync().invalidations - invalidationsBefore < this.#count) {
      throw new Error("the device had nothing to let go of: this measures no invalidation");
    }
    return { returned: median(returned), seen: median(seenAfter) };
  }

  /** Without giving the processor up: the wait is part of what is measured. */
  #spinUntil(index: number, value: number): void {
    const startMs = performance.now();
    while (Atomics.load(this.#control, index) < value) {
      if (performance.now() - startMs < LOST_MS) continue;
      throw new Error(
        `the kernel stands still: order ${Atomics.load(this.#control, ORDER)}, word ${index} is not ${value}`,
      );
    }
  }

  /** Pages that were never used before, all present, with `value` in their first words. */
  #fill(value: number): void {
    const lengthBytes = this.#count * PAGE_BYTES;
    this.#space.munmapSync(this.#pages, lengthBytes);
    this.#pages += lengthBytes;
    this.#space.mmapSync(lengthBytes, { address: this.#pages, fixed: "noreplace" });
    for (let i = 0; i < this.#count; i++)
      this.#space.u32.store(this.#pages + i * PAGE_BYTES, value);
  }

  #order(order: number): void {
    const control = this.#control;
    Atomics.store(control, USING, 0);
    Atomics.store(control, BALL, 0);
    Atomics.store(control, COUNT, this.#count);
    Atomics.store(control, FIRST_PAGE, this.#pages / PAGE_BYTES);
    Atomics.store(control, ORDER, order);
    Atomics.notify(control, ORDER);
  }

  #awaitIdle(): void {
    for (
      let order = Atomics.load(this.#control, ORDER);
      order !== IDLE;
      order = Atomics.load(this.#control, ORDER)
    ) {
      Atomics.wait(this.#control, ORDER, order);
    }
  }
}

export async function measureInvalidation(options: MeasureOptions): Promise<Measurement> {
  const count = options.isQuick ? 50 : 300;
  const rounds = roundsOf(options);
  const onRound = roundCounter(8 * rounds, options);
  await using space = await AddressSpace.create({ ramBytes: 4 * count * PAGE_BYTES + 2 ** 20 });
  await using device = await SoftwareDevice.create(space, {
    memoryBytes: (count + 16) * PAGE_BYTES,
  });
  const harness = await Harness.start(space, device, count);
  const store = (address: number): void => space.u32.store(address, 2);
  const giveUp = (address: number): void => space.madviseSync(address, PAGE_BYTES, "dontneed");
  const unmap = (address: number): void => space.munmapSync(address, PAGE_BYTES);
  const compare = (label: string, ours: () => number, isBound = true): Promise<Reading> =>
    measurePairs({
      label,
      unit: "us",
      rounds,
      onRound,
      ours,
      isBound,
      plain: () => harness.pingPong(),
    });
  const refault = (change: (address: number) => void): number => {
    const { returned, seen } = harness.watch(1, change);
    return seen - returned;
  };
  for (let i = 0; i < (options.isQuick ? 1 : WARMING_ROUNDS); i++) {
    harness.watch(1, store);
    harness.watch(1, giveUp);
    harness.loadOnce(unmap);
  }
  const readings = [
    await compare("a store, until it returned", () => harness.watch(1, store).returned),
    await compare("a store, until the device saw it", () => harness.watch(1, store).seen),
    await compare("madvise, until it returned", () => harness.watch(1, giveUp).returned),
    await compare("madvise, until the device saw it", () => harness.watch(1, giveUp).seen),
    await compare("munmap, until it returned", () => harness.loadOnce(unmap).returned),
    await compare("part: the device's fault after a store returned", () => refault(store), false),
    await compare("part: the same after madvise", () => refault(giveUp), false),
    await compare("part: a ping-pong without sleeping", () => harness.spinPong(), false),
  ];
  await harness.end();
  return { readings };
}
