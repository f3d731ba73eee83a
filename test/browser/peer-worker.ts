/**
 * @module A Worker of the scenario pages: attached to the page's address space, it does the jobs
 * that it is sent, with operations that block.
 */

import {
  AddressSpace,
  type AddressSpaceHandle,
  HmmError,
  type MmapOptions,
  type Protection,
} from "../../src/index.ts";
import type { ThreadPort } from "../../src/index.ts";
import { beginHalfDone } from "../../src/mm/half-done.ts";
import { inside } from "../inside.ts";

export interface PeerOrder {
  readonly id: number;
  readonly job: keyof PeerJobs;
  readonly args: readonly unknown[];
}

export type PeerAnswer =
  | { readonly kind: "done"; readonly id: number; readonly value: unknown }
  | {
      readonly kind: "failed";
      readonly id: number;
      readonly code: string;
      readonly message: string;
    }
  | { readonly kind: "note"; readonly note: string };

const PAGE = 4096;

let attached: AddressSpace | undefined;
const children: AddressSpace[] = [];
const memories: SharedArrayBuffer[] = [];

function space(): AddressSpace {
  if (attached === undefined) throw new Error("this Worker is attached to nothing");
  return attached;
}

function post(answer: PeerAnswer): void {
  self?.postMessage(answer);
}

function note(text: string): void {
  post({ kind: "note", note: text });
}

/** Blocks until the word is not 0. */
function waitForWord(word: Int32Array): void {
  while (Atomics.load(word, 0) === 0) Atomics.wait(word, 0, 0);
}

/** A number from 0 below `bound`; the state changes with every call. */
function draw(random: { state: number }, bound: number): number {
  random.state = (Math.imul(random.state, 1_664_525) + 1_013_904_223) | 0;
  return (random.state >>> 8) % bound;
}

/** One random operation on a mapping of this thread's own, which is at `own` afterwards. */
function churnOnce(random: { state: number }, own: number): number {
  const here = space();
  const address = own + draw(random, 8) * PAGE;
  switch (draw(random, 6)) {
    case 0:
      here.munmapSync(own, 8 * PAGE);
      return here.mmapSync(8 * PAGE);
    case 1:
      here.madviseSync(address, PAGE, "dontneed");
      return own;
    case 2: {
      const child = here.forkSync();
      child.u32.store(address, random.state);
      child.disposeSync();
      return own;
    }
    case 3: {
      using view = here.viewSync(address, PAGE, "write");
      view.bytes[0] = 1;
      return own;
    }
    case 4:
      here.writeSync(address, new Uint8Array(PAGE).fill(random.state));
      return own;
    default:
      for (let i = 0; i < 8; i++) here.u32.store(own + i * PAGE, random.state + i);
      return own;
  }
}

/** The jobs, by name. */
const jobs = {
  attach: async (handle: AddressSpaceHandle, port: ThreadPort | undefined): Promise<void> => {
    attached = await AddressSpace.attach(handle);
    if (port !== undefined) attached.connect(port);
  },

  connect: (port: ThreadPort): void => space().connect(port),

  leave: (): void => {
    for (const child of children.splice(0)) child.disposeSync();
    space().disposeSync();
  },

  map: (lengthBytes: number, options?: MmapOptions): number =>
    space().mmapSync(lengthBytes, options),
  unmap: (address: number, lengthBytes: number): void => space().munmapSync(address, lengthBytes),
  protect: (address: number, lengthBytes: number, protection: Protection): void =>
    space().mprotectSync(address, lengthBytes, protection),
  load: (address: number): number => space().u32.load(address),
  store: (address: number, value: number): void => space().u32.store(address, value),
  add: (address: number, value: number, times: number): void => {
    for (let i = 0; i < times; i++) space().u32.atomicAdd(address, value);
  },
  write: (address: number, bytes: Uint8Array): void => space().writeSync(address, bytes),

  /** Reads with the promise form, which waits for a buffer that is on its way. */
  readLater: async (address: number, lengthBytes: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(lengthBytes);
    await space().read(address, bytes);
    return bytes;
  },

  /** Fills a range with numbers from `first` on, through a view. */
  fillView: (address: number, count: number, first: number): void => {
    using view = space().viewSync(address, count * 4, "write");
    view.as(Uint32Array).forEach((_, i, words) => (words[i] = first + i));
  },

  /** The sum of a range of numbers, through a view. */
  sumView: (address: number, count: number): number => {
    using view = space().viewSync(address, count * 4, "read");
    return view.as(Uint32Array).reduce((sum, value) => sum + value, 0);
  },

  /** Forks, and stores in the child; what sends the child's handle keeps the child. */
  fork: (address: number, value: number): AddressSpaceHandle => {
    const child = space().forkSync();
    children.push(child);
    child.u32.store(address, value);
    return child.handle;
  },

  /** Makes a buffer that begins with `value` and maps it, at `address` if that is not 0. */
  mapBuffer: (lengthBytes: number, value: number, address: number): number => {
    const buffer = new SharedArrayBuffer(lengthBytes);
    memories.push(buffer);
    new Uint32Array(buffer)[0] = value;
    return space().mmapSync(lengthBytes, {
      buffer,
      ...(address === 0 ? {} : { address, fixed: "replace" }),
    });
  },

  /** What word `index` of the last buffer reads as, without the address space. */
  peekBuffer: (index: number): number =>
    new Uint32Array(memories.at(-1) ?? new SharedArrayBuffer(4))[index] ?? -1,

  /** Loads the address until that faults; the error's code. Says "loading" when it has begun. */
  loadUntilFault: (address: number): string => {
    note("loading");
    try {
      for (;;) space().u32.load(address);
    } catch (error) {
      return error instanceof HmmError ? error.code : String(error);
    }
  },

  /** `times` random operations, from a seed. Their number is returned. */
  churn: (seed: number, times: number): number => {
    const random = { state: seed };
    let own = space().mmapSync(8 * PAGE);
    for (let i = 0; i < times; i++) own = churnOnce(random, own);
    space().munmapSync(own, 8 * PAGE);
    return times;
  },

  /** The same until the word is not 0. */
  churnUntil: (seed: number, word: Int32Array): void => {
    const random = { state: seed };
    let own = space().mmapSync(8 * PAGE);
    while (Atomics.load(word, 0) === 0) own = churnOnce(random, own);
    space().munmapSync(own, 8 * PAGE);
  },

  /** The same for ever. Says "churning" when it has begun. */
  churnForEver: (seed: number): void => {
    const random = { state: seed };
    let own = space().mmapSync(8 * PAGE);
    note("churning");
    for (;;) own = churnOnce(random, own);
  },

  /**
   * Keeps the address space's lock for writing until the word changes. Says "locked" when it has
   * it.
   */
  holdMmapLock: (word: Int32Array): void => {
    const { mmapLock } = inside(space()).mm;
    inside(space()).runSync(
      (function* () {
        yield* mmapLock.downWrite();
        note("locked");
        waitForWord(word);
        yield* mmapLock.upWrite();
      })(),
    );
  },

  /** Is in the middle of a change of the mappings for ever. Says "locked" when it is. */
  holdHalfDone: (): void => {
    const { mm } = inside(space());
    inside(space()).runSync(
      (function* () {
        yield* mm.mmapLock.downWrite();
        beginHalfDone(mm);
        note("locked");
        waitForWord(new Int32Array(new SharedArrayBuffer(4)));
      })(),
    );
  },

  /** Opens a write view and keeps it; this thread then idles. */
  keepView: (address: number, lengthBytes: number): void => {
    space().viewSync(address, lengthBytes, "write").bytes[0] = 7;
  },
} as const;

export type PeerJobs = typeof jobs;

async function obey({ id, job, args }: PeerOrder): Promise<void> {
  try {
    const work = jobs[job] as (...given: readonly unknown[]) => unknown;
    post({ kind: "done", id, value: await work(...args) });
  } catch (error) {
    const code = error instanceof HmmError ? error.code : "EUNKNOWN";
    post({
      kind: "failed",
      id,
      code,
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }
}

/** One job after the other, in the order of their messages. */
let last: Promise<void> = Promise.resolve();

self?.addEventListener("message", ({ data }) => {
  last = last.then(() => obey(data as PeerOrder));
});
