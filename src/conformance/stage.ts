/**
 * @module conformance/stage
 * What each case stands on: an address space, a device on it, and the driver's call-backs watched.
 * The watch looks at each answer of `invalidate` when it comes: no range over the pages is valid
 * before the invalidation ends, so a translation that is there then was not cleared.
 */

import {
  AGENT_LIMIT,
  DriverThread,
  type Errno,
  type HmmMirror,
  type HmmMirrorOps,
  type InvalidateRange,
  type Machine,
  PAGE_BYTES,
  type Task,
  errnoName,
  hasPanicked,
  hmmStatistics,
  registerMirrorOps,
} from "../driver-interface.ts";
import { mirrorOps } from "../hmm/mirror/mirror-ops.ts";
import { declarePanic } from "../sync/death/panic.ts";
import { ENOTRECOVERABLE } from "../sync/errno.ts";
import { notifierSrcu } from "../notifier/mmu-notifier.ts";
import { AddressSpace } from "../space/address-space.ts";
import type { AddressSpaceOptions } from "../space/options.ts";
import { ConformanceFailure, demand } from "./demands.ts";
import type { DriverUnderTest } from "./driver-under-test.ts";

/** How the conformance tests run. */
export interface ConformanceOptions {
  /** How long one step of a case may take, in milliseconds. Default 60,000. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 60_000;
/** Pages of an invalidation that the watch asks the device about. */
const WATCHED_PAGES_MAX = 64;

/** What the watch of the call-backs has seen. */
export interface Seen {
  releases: number;
  failure: string | undefined;
}

export class Stage {
  readonly subject: DriverUnderTest;
  readonly space: AddressSpace;
  readonly driver: DriverThread;
  readonly mirror: HmmMirror;
  readonly seen: Seen;
  readonly #restore: () => void;
  readonly #patienceMs: number;
  readonly #serving: Promise<unknown>;

  private constructor(
    parts: Pick<Stage, "subject" | "space" | "driver" | "mirror" | "seen">,
    restore: () => void,
    patienceMs: number,
  ) {
    this.subject = parts.subject;
    this.space = parts.space;
    this.driver = parts.driver;
    this.mirror = parts.mirror;
    this.seen = parts.seen;
    this.#restore = restore;
    this.#patienceMs = patienceMs;
    this.#serving = serve(parts.subject, parts.driver, parts.mirror);
  }

  /** A space with a device on it. */
  static async open(
    subject: DriverUnderTest,
    { patienceMs = PATIENCE_MS }: ConformanceOptions = {},
    options: AddressSpaceOptions = { ramBytes: 2 ** 23, debug: true },
  ): Promise<Stage> {
    const space = await AddressSpace.create(options);
    const driver = DriverThread.open(space);
    const { seen, restore } = watchCallbacks(subject);
    const mirror = await openDevice(subject, driver, space);
    return new Stage({ subject, space, driver, mirror, seen }, restore, patienceMs);
  }

  get machine(): Machine {
    return this.driver.machine;
  }

  /** A further device on the same space, for the time of `use`. */
  async withAnother(use: (mirror: HmmMirror) => Promise<void>): Promise<void> {
    const mirror = await openDevice(this.subject, this.driver, this.space);
    const serving = serve(this.subject, this.driver, mirror);
    await use(mirror);
    await this.run(this.subject.close(mirror), "closing a second device");
    await serving;
  }

  /**
   * Runs `body`, then `end`. If it fails, nobody knows what the driver holds or waits for:
   * the machine is stopped, so that all of it ends.
   */
  async during(body: (stage: Stage) => Promise<void>, end: () => Promise<void>): Promise<void> {
    try {
      await body(this);
      await end();
    } catch (error) {
      this.#restore();
      this.#serving.catch(() => {});
      await stopMachine(this.driver, this.space);
      throw error;
    }
  }

  /** Ends the device. The space is still there, unless it has been disposed of. */
  async closeDevice(): Promise<void> {
    await this.run(this.subject.close(this.mirror), "closing the device");
    await this.within(this.#serving, "the end of its threads");
  }

  /** Ends everything, and throws what the watch has found. */
  async close(): Promise<void> {
    await this.closeDevice();
    await this.end();
  }

  /** As `close`, where the device is closed. */
  async end(): Promise<void> {
    this.driver.close();
    await this.space.dispose();
    this.#restore();
    demand(this.seen.failure === undefined, this.seen.failure ?? "");
  }

  /** Runs a task, which may not take for ever. */
  async run<T>(task: Task<T>, what: string): Promise<T> {
    return await this.within(this.driver.run(task), what);
  }

  async within<T>(promise: Promise<T>, what: string): Promise<T> {
    return await within(promise, what, this.#patienceMs);
  }

  /** The device reads `length` bytes: the errno, and the bytes. */
  async read(
    address: number,
    length: number = 4,
    mirror: HmmMirror = this.mirror,
  ): Promise<{ readonly errno: Errno; readonly bytes: Uint8Array }> {
    const bytes = new Uint8Array(length);
    const errno = await this.run(this.subject.read(mirror, address, bytes), "a read");
    return { errno, bytes };
  }

  /** The device reads the 32-bit word at `address`, which must succeed. */
  async word(address: number, mirror: HmmMirror = this.mirror): Promise<number> {
    const { errno, bytes } = await this.read(address, 4, mirror);
    demand(errno === 0, `a read at 0x${address.toString(16)} answers ${errnoName(errno)}`);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  /** The device must read `value` there. */
  async requireWord(address: number, value: number, when: string): Promise<void> {
    const found = await this.word(address);
    demand(found === value, `${when} the device reads ${found}, not ${value}`);
  }

  /** A read must fail with one of these. */
  async requireFailure(address: number, wanted: readonly Errno[], when: string): Promise<void> {
    const { errno } = await this.read(address);
    const names = wanted.map((one) => errnoName(one)).join(" or ");
    demand(wanted.includes(errno), `${when} a read answers ${errnoName(errno)}, not ${names}`);
  }

  async reaches(address: number): Promise<boolean> {
    const page = Math.floor(address / PAGE_BYTES);
    return await this.run(this.subject.reaches(this.mirror, page), "looking at the device's table");
  }

  /** Registered ranges of the space; undefined when nothing mirrors it. */
  async ranges(): Promise<number | undefined> {
    const { machine } = this;
    const statistics = await this.driver.runOnSpace(this.space, (mm) => hmmStatistics(machine, mm));
    return statistics?.ranges;
  }

  /** What is allocated on the machine, deferred frees done. */
  async accounting(): Promise<string> {
    return await accountingOf(this.driver);
  }
}

/** A case has failed: whatever is under way on its machine ends with an error. */
export async function stopMachine({ machine }: DriverThread, space: AddressSpace): Promise<void> {
  if (!hasPanicked(machine.memory))
    declarePanic(machine.memory, ENOTRECOVERABLE, "Cannot go on: a conformance case has failed");
  await space.dispose().catch(() => {});
}

/** What the promise settles with, in time. */
export async function within<T>(
  promise: Promise<T>,
  what: string,
  patienceMs: number = PATIENCE_MS,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const failure = new ConformanceFailure(`${what} takes longer than ${patienceMs} ms`);
    timer = setTimeout(() => reject(failure), patienceMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What is allocated on the machine, deferred frees done: to compare before and after. */
export async function accountingOf(driver: DriverThread): Promise<string> {
  const { machine } = driver;
  await driver.run(
    (function* (): Task<void> {
      yield* (yield* notifierSrcu(machine)).barrier();
    })(),
  );
  const { heap, ram } = machine;
  const accounts = heap.accounting().map(({ name, live }) => `${live} ${name}`);
  return [...accounts, `${ram.usage().usedPages} frames`].join(", ");
}

async function openDevice(
  subject: DriverUnderTest,
  driver: DriverThread,
  space: AddressSpace,
): Promise<HmmMirror> {
  const mirror = await driver.runOnSpace(space, (mm) => subject.open(driver.machine, mm));
  if (typeof mirror !== "number") return mirror;
  throw new ConformanceFailure(
    `the driver opens no device: ${errnoName(mirror)} (a machine has room for ${AGENT_LIMIT} threads)`,
  );
}

/** The device at work, as a task of this thread. */
async function serve(
  subject: DriverUnderTest,
  driver: DriverThread,
  mirror: HmmMirror,
): Promise<unknown> {
  return subject.serve === undefined ? undefined : await driver.run(subject.serve(mirror));
}

/** The driver's own call-backs, by its name in this thread. */
export function callbacksOf(subject: DriverUnderTest): HmmMirrorOps {
  return mirrorOps.get(mirrorOps.declare(subject.opsName));
}

/** Puts a watch in front of the driver's call-backs, until `restore`. */
function watchCallbacks(subject: DriverUnderTest): { seen: Seen; restore: () => void } {
  const seen: Seen = { releases: 0, failure: undefined };
  const ops = callbacksOf(subject);
  const { release } = ops;
  registerMirrorOps(subject.opsName, {
    ...ops,
    *invalidate(mirror, range) {
      const errno = yield* ops.invalidate(mirror, range);
      if (errno === 0) yield* lookAfter(subject, mirror, range, seen);
      return errno;
    },
    *release(mirror) {
      seen.releases++;
      if (release !== undefined) yield* release(mirror);
    },
  });
  return { seen, restore: () => void registerMirrorOps(subject.opsName, ops) };
}

/** A migration of its own device may be left to the driver: it clears its table by itself. */
function* lookAfter(
  subject: DriverUnderTest,
  mirror: HmmMirror,
  { startPage, endPage, owner }: InvalidateRange,
  seen: Seen,
): Task<void> {
  if (owner !== 0) return;
  for (let page = startPage; page < Math.min(endPage, startPage + WATCHED_PAGES_MAX); page++) {
    if (!(yield* subject.reaches(mirror, page))) continue;
    seen.failure ??= `invalidate has returned, and the device still reaches page ${page}`;
  }
}
