/**
 * @module A thread of `npm run soak`: it maps, writes, forks, views and discards pages of its own
 * beside a model of their bytes, and compares. Where there is no memory, a write may have been made
 * in part: each byte is the old or the new one then.
 */

import { parentPort, workerData } from "node:worker_threads";
import {
  AddressSpace,
  type AddressSpaceHandle,
  HmmError,
  SegmentationFault,
} from "../../src/index.ts";
import { diceOf } from "../dice.ts";

export interface SoakRequest {
  readonly handle: AddressSpaceHandle;
  readonly seed: number;
  readonly area: number;
  readonly counter: number;
  /** Word 0: not 0 when the thread is to end. */
  readonly control: Int32Array;
}

export interface SoakAnswer {
  readonly operations: number;
  readonly additions: number;
  readonly refused: number;
}

const PAGE = 4096;
const PAGES = 32;
const BYTES: number = PAGES * PAGE;

const { handle, seed, area, counter, control } = workerData as SoakRequest;
const space = AddressSpace.attachSync(handle);
const model = new Uint8Array(BYTES);
const found = new Uint8Array(BYTES);
const random = diceOf(seed);
let additions = 0;
let refused = 0;

function require(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(`${what}, seed ${seed}`);
}

/** Whether the error says that there is no memory. */
function isShortage(error: unknown): boolean {
  if (error instanceof HmmError && error.code === "ENOMEM") return true;
  return error instanceof SegmentationFault && error.signal === "SIGBUS";
}

function compare(of: AddressSpace, what: string): void {
  of.readSync(area, found);
  const at = found.findIndex((byte, i) => byte !== model[i]);
  require(at < 0, `${what}: byte ${at} is ${found[at]}, not ${model[at]}`);
}

function write(): void {
  const start = random(BYTES - 1);
  const bytes = new Uint8Array(1 + random(Math.min(3 * PAGE, BYTES - start))).fill(random(256));
  try {
    space.writeSync(area + start, bytes);
  } catch (error) {
    if (!isShortage(error)) throw error;
    refused++;
    const now = new Uint8Array(bytes.length);
    space.readSync(area + start, now);
    const isEither = now.every((byte, i) => byte === bytes[i] || byte === model[start + i]);
    require(isEither, "a write that was refused has left a third value");
    model.set(now, start);
    return;
  }
  model.set(bytes, start);
}

function forkAndCompare(): void {
  using child = space.forkSync();
  compare(child, "the child");
  child.u8.store(area + random(BYTES), 1);
  compare(space, "after the child's store");
}

function view(): void {
  const page = random(PAGES - 2);
  const at = random(2 * PAGE);
  const value = random(256);
  using open = space.viewSync(area + page * PAGE, 2 * PAGE, "write");
  open.as(Uint8Array)[at] = value;
  model[page * PAGE + at] = value;
}

function forget(page: number, pages: number): void {
  model.fill(0, page * PAGE, (page + pages) * PAGE);
}

const acts: readonly (() => void)[] = [
  write,
  write,
  () => compare(space, "the space"),
  () => {
    space.u32.atomicAdd(counter, 1);
    additions++;
  },
  () => {
    const page = random(PAGES - 4);
    space.madviseSync(area + page * PAGE, 4 * PAGE, "dontneed");
    forget(page, 4);
  },
  () => {
    const page = random(PAGES - 4);
    space.mmapSync(4 * PAGE, { address: area + page * PAGE, fixed: "replace" });
    forget(page, 4);
  },
  () => {
    space.mprotectSync(area, BYTES, "read");
    compare(space, "read-only");
    space.mprotectSync(area, BYTES, "read-write");
  },
  forkAndCompare,
  view,
];

function tryOne(): void {
  try {
    acts[random(acts.length)]?.();
  } catch (error) {
    if (!isShortage(error)) throw error;
    refused++;
    // A protection that was taken and not given back.
    space.mprotectSync(area, BYTES, "read-write");
  }
}

space.mmapSync(BYTES, { address: area, fixed: "replace" });
parentPort?.postMessage("started");
let operations = 0;
do {
  tryOne();
  operations++;
} while (Atomics.load(control, 0) === 0);
compare(space, "at the end");
space.munmapSync(area, BYTES);
space.disposeSync();
parentPort?.postMessage({ operations, additions, refused } satisfies SoakAnswer);
