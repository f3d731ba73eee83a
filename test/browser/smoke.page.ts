/**
 * @module What this project takes for granted in a browser: shared memory reaches module workers,
 * the main thread can wait without blocking, and the waiters of a terminated worker are gone, which
 * is how its death is noticed.
 */

import { check, checkEqual, pageTest } from "./page-cases.ts";
import { armedWaiters, type SmokeCommand } from "./smoke-command.ts";

function startWorker(command: SmokeCommand): WebWorker {
  check(Worker !== undefined, "browsers have Worker");
  const worker = new Worker(new URL("./smoke-worker.js", import.meta.url), { type: "module" });
  worker.postMessage(command);
  return worker;
}

function nextMessage(worker: WebWorker): Promise<unknown> {
  return new Promise((resolve) =>
    worker.addEventListener("message", (event) => resolve(event.data)),
  );
}

async function settled(result: ReturnType<typeof Atomics.waitAsync>): Promise<string> {
  return result.async ? await result.value : result.value;
}

function sleep(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs));
}

pageTest("the page is cross-origin isolated", () => {
  checkEqual(crossOriginIsolated, true, "crossOriginIsolated");
});

pageTest("a growable SharedArrayBuffer grows", () => {
  const buffer = new SharedArrayBuffer(4096, { maxByteLength: 1 << 20 });
  buffer.grow(8192);
  checkEqual(buffer.byteLength, 8192, "byteLength");
});

pageTest("the main thread may not block", () => {
  let error: unknown;
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
  } catch (thrown) {
    error = thrown;
  }
  check(error instanceof TypeError, `Atomics.wait ended with ${String(error)}`);
});

pageTest("waitAsync on the page is woken by a module worker", async () => {
  const buffer = new SharedArrayBuffer(16);
  const words = new Int32Array(buffer);
  const wait = Atomics.waitAsync(words, 0, 0, 20_000);
  const worker = startWorker({ buffer, work: "add" });
  checkEqual(await settled(wait), "ok", "the wait");
  checkEqual(Atomics.load(words, 0), 1, "what the worker added");
  worker.terminate();
});

/**
 * Probes until no waiter answers: each probe uses up one waiter of a worker that still lives, so
 * fewer probes than were armed means that the others were dropped unwoken.
 */
async function checkWaitersDropped(words: Int32Array, note: (text: string) => void): Promise<void> {
  const startMs = performance.now();
  for (let probes = 0; probes < armedWaiters - 1; probes++) {
    if (Atomics.notify(words, 2, 1) === 0) {
      note(
        `Atomics.notify saw them gone ${Math.round(performance.now() - startMs)} ms after terminate()`,
      );
      return;
    }
    await sleep(100);
  }
  check(false, "a terminated worker still has waiters, or they were used up one by one");
}

pageTest("the asynchronous waiters of a terminated idle worker are gone", async (note) => {
  const buffer = new SharedArrayBuffer(16);
  const words = new Int32Array(buffer);
  const worker = startWorker({ buffer, work: "arm" });
  checkEqual(await nextMessage(worker), "armed", "the worker");
  checkEqual(Atomics.notify(words, 2, 1), 1, "waiters woken while it lives");
  worker.terminate();
  await checkWaitersDropped(words, note);
});

/**
 * Chromium lets a busy worker run on for two seconds after terminate(): it lives until then, and so
 * do its waiters.
 */
pageTest("the waiters of a terminated worker that blocks are gone", async (note) => {
  const buffer = new SharedArrayBuffer(16);
  const words = new Int32Array(buffer);
  const worker = startWorker({ buffer, work: "arm and sleep" });
  checkEqual(await nextMessage(worker), "armed", "the worker");
  worker.terminate();
  await checkWaitersDropped(words, note);
  checkEqual(Atomics.notify(words, 1), 0, "blocked waiters");
});
