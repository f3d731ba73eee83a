/**
 * @module What hmm-ts must do on every host: Node, Bun, Deno and browsers. It imports no test
 * library and no module of one host, so the same file runs on each of them.
 */

import { AddressSpace, HmmError, SoftwareDevice } from "../../src/index.ts";
import { HostThread, type WorkerKind, startWorker, workerKinds } from "./host-threads.ts";

/** How one case went. */
export interface CaseReport {
  readonly name: string;
  /** Undefined when it passed. */
  readonly error: string | undefined;
}

const PAGE = 4096;
const CASE_MS = 60_000;

function checkEqual(actual: unknown, expected: unknown, what: string): void {
  if (!Object.is(actual, expected))
    throw new Error(`${what}: ${String(actual)}, expected ${String(expected)}`);
}

function makeSpace(): Promise<AddressSpace> {
  return AddressSpace.create({ ramBytes: 2 ** 21 });
}

async function useSpace(): Promise<void> {
  const space = await makeSpace();
  const p = await space.mmap(4 * PAGE);
  space.f64.store(p + 8, 1.5);
  checkEqual(space.f64.load(p + 8), 1.5, "what was stored");
  await space.write(p + PAGE, new Uint8Array(2 * PAGE).fill(7));
  const view = await space.view(p, 4 * PAGE, "read");
  checkEqual(view.bytes[3 * PAGE - 1], 7, "the last byte that was written, in a view");
  await view.dispose();
  await space.munmap(p, 4 * PAGE);
  let code = "no error";
  try {
    space.u8.load(p);
  } catch (error) {
    if (error instanceof HmmError) ({ code } = error);
  }
  checkEqual(code, "EFAULT", "a load of what is unmapped");
  await space.dispose();
}

async function useThreads(kind: WorkerKind): Promise<void> {
  const space = await makeSpace();
  const p = await space.mmap(PAGE);
  const threads = await Promise.all([1, 2, 3].map(() => HostThread.start(kind, space, false)));
  await Promise.all(threads.map((thread) => thread.do("add", p, 10_000)));
  checkEqual(space.u32.load(p), 30_000, "what three threads have added");
  await Promise.all(threads.map((thread) => thread.leave()));
  checkEqual((await space.stats()).users, 1, "users when they have left");
  await space.dispose();
}

async function useFork(): Promise<void> {
  const space = await makeSpace();
  const p = await space.mmap(PAGE);
  space.u32.store(p, 1);
  const child = await space.fork();
  child.u32.store(p, 2);
  checkEqual(space.u32.load(p), 1, "the parent's word");
  checkEqual(child.u32.load(p), 2, "the child's word");
  await child.dispose();
  await space.dispose();
}

/** With the library's own Workers, or with those of `kind` that serve the kernel. */
async function useDevice(kind: WorkerKind | undefined): Promise<void> {
  const space = await makeSpace();
  const p = await space.mmap(4 * PAGE);
  const own = new URL("./host-device.js", import.meta.url);
  const device = await SoftwareDevice.create(space, {
    memoryBytes: 2 * PAGE,
    threads: 2,
    ...(kind === undefined ? {} : { worker: () => startWorker(kind, own) }),
  });
  const module = new URL("./host-kernels.js", import.meta.url);
  const kernel = device.kernel({
    exportName: "square",
    ...(kind === undefined ? { module } : {}),
  });
  await kernel.dispatch(4096, { args: [p] });
  for (const item of [0, 1, 1023, 1024, 4095])
    checkEqual(space.u32.load(p + 4 * item), item * item, `the square of ${item}`);
  await device[Symbol.asyncDispose]();
  await space.dispose();
}

/** `turns`: whether the thread's event loop turns now and then. */
async function loseThread(kind: WorkerKind, turns: boolean): Promise<void> {
  const space = await makeSpace();
  const p = await space.mmap(PAGE);
  space.u32.store(p, 0);
  const thread = await HostThread.start(kind, space, false);
  await thread.begin("storeForEver", p, turns);
  await thread.terminate();
  while ((await space.stats()).users !== 1) await new Promise((resolve) => setTimeout(resolve, 20));
  // Waits for every thread that may be in the middle of a store.
  await space.munmap(p, PAGE);
  const again = await space.mmap(PAGE);
  space.u32.store(again, 5);
  checkEqual(space.u32.load(again), 5, "what is stored when the thread is gone");
  await space.dispose();
}

/** Browsers do not broadcast shared memory: there, a program connects its threads. */
async function mapBuffers(kind: WorkerKind, isConnected: boolean): Promise<void> {
  const space = await makeSpace();
  const thread = await HostThread.start(kind, space, isConnected);
  const buffer = new SharedArrayBuffer(PAGE);
  new Uint32Array(buffer)[0] = 41;
  const mine = await space.mmap(PAGE, { buffer });
  checkEqual(await thread.do("read", mine), 41, "this thread's buffer, in the other");
  const theirs = await thread.do("mapBuffer", 42);
  if (typeof theirs !== "number") throw new Error("no address came back");
  const bytes = new Uint8Array(4);
  await space.read(theirs, bytes);
  checkEqual(bytes[0], 42, "the other thread's buffer, in this one");
  await thread.leave();
  await space.dispose();
}

/** The cases of this host, by name. */
function casesHere(): [string, () => Promise<void>][] {
  const cases: [string, () => Promise<void>][] = [
    ["space", useSpace],
    ["fork", useFork],
    ["device", () => useDevice(undefined)],
  ];
  // Deno does not end a Worker until its event loop turns (docs/LIMITS.md).
  const isDeno = typeof process === "object" && "deno" in process.versions;
  const isBrowser = !workerKinds().includes("node");
  for (const kind of workerKinds()) {
    const of = (name: string): string => `${name}, ${kind} Workers`;
    cases.push([of("threads"), () => useThreads(kind)]);
    cases.push([of("served kernel"), () => useDevice(kind)]);
    cases.push([of("terminated Worker"), () => loseThread(kind, true)]);
    if (!isDeno) cases.push([of("terminated busy Worker"), () => loseThread(kind, false)]);
    cases.push([of("buffer, connected"), () => mapBuffers(kind, true)]);
    if (!isBrowser && !isDeno) cases.push([of("buffer"), () => mapBuffers(kind, false)]);
  }
  return cases;
}

async function within(run: () => Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not end within ${CASE_MS} ms`)), CASE_MS);
  });
  try {
    await Promise.race([run(), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs all cases, one after the other; calls `onCase` as each begins. */
export async function runHostCases(
  onCase: (name: string) => void = () => {},
): Promise<CaseReport[]> {
  const reports: CaseReport[] = [];
  for (const [name, run] of casesHere()) {
    onCase(name);
    try {
      await within(run);
      reports.push({ name, error: undefined });
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      reports.push({ name, error: text });
    }
  }
  return reports;
}
