// The page: three threads on one address space, and a device with a kernel in JavaScript and one in
// TypeScript.
import { AddressSpace, SoftwareDevice } from "hmm-ts";

export interface Outcome {
  /** What three Workers have counted together: 3000. */
  readonly counted: number;
  /** The squares of 0 to 9, by the kernel in JavaScript, and their cubes, by that in TypeScript. */
  readonly squares: readonly number[];
  readonly cubes: readonly number[];
}

declare global {
  /** What the page has come to; a text is an error. */
  var outcome: Outcome | string | undefined;
}

const ITEMS = 10;

/** Starts a Worker that adds 1 a thousand times, and waits until it has. */
function count(space: AddressSpace, address: number): Promise<void> {
  const worker = new Worker(new URL("./thread.js", import.meta.url), { type: "module" });
  worker.postMessage({ handle: space.handle, address });
  return new Promise((resolve, reject) => {
    worker.addEventListener("message", () => resolve());
    worker.addEventListener("error", (event) => reject(new Error(event.message)));
  });
}

async function main(): Promise<Outcome> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 22 });
  const counter = await space.mmap(4096);
  await Promise.all([1, 2, 3].map(() => count(space, counter)));

  const numbers = await space.mmap(2 * 4096);
  const device = await SoftwareDevice.create(space, {
    memoryBytes: 2 ** 20,
    threads: 2,
    worker: () => new Worker(new URL("./device.js", import.meta.url), { type: "module" }),
  });
  await device.kernel({ exportName: "square" }).dispatch(ITEMS, { args: [numbers] });
  await device.kernel({ exportName: "cube" }).dispatch(ITEMS, { args: [numbers + 4096] });
  const row = (start: number): number[] =>
    Array.from({ length: ITEMS }, (_, item) => space.u32.load(start + 4 * item));
  const outcome = {
    counted: space.u32.load(counter),
    squares: row(numbers),
    cubes: row(numbers + 4096),
  };
  await device[Symbol.asyncDispose]();
  await space.dispose();
  return outcome;
}

main().then(
  (outcome) => (globalThis.outcome = outcome),
  (error: unknown) => (globalThis.outcome = String(error)),
);
