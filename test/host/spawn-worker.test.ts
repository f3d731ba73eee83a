/** @module Workers: their start, their messages, their end, and its report. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { test } from "node:test";
import { type SpawnedWorker, spawnWorker } from "../../src/host/spawn-worker.ts";
import {
  hostThreadId,
  randomWords,
  threadName,
  workerThreads,
} from "../../src/host/thread-identity.ts";
import { watchWorkerExits } from "../../src/host/worker-exits.ts";
import { enterWorker } from "../../src/host/worker-scope.ts";
import type { EchoStart } from "./echo-worker.ts";

interface Echo {
  readonly worker: SpawnedWorker;
  readonly words: Int32Array;
  /** The next message. */
  readonly next: () => Promise<unknown>;
  readonly ended: Promise<void>;
}

function spawnEcho(task: EchoStart["task"]): Echo {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const start: EchoStart = { words, task };
  const worker = spawnWorker(new URL("./echo-worker.js", import.meta.url), start);
  const ended = new Promise<void>((resolve) => worker.onExit(resolve));
  const arrived: unknown[] = [];
  const waiting: ((message: unknown) => void)[] = [];
  worker.onMessage((message) => {
    const waiter = waiting.shift();
    if (waiter === undefined) arrived.push(message);
    else waiter(message);
  });
  const next = (): Promise<unknown> =>
    arrived.length > 0
      ? Promise.resolve(arrived.shift())
      : new Promise((resolve) => waiting.push(resolve));
  return { worker, words, next, ended };
}

test("start data is shared where it can be, and messages go both ways in their order", async () => {
  const { worker, words, next, ended } = spawnEcho("echo");
  assert.deepEqual(await next(), {
    hostThreadId: worker.hostThreadId,
    threadName: `worker ${worker.hostThreadId}`,
  });
  assert.equal(words[0], 7);
  worker.post("one");
  worker.post({ two: 2 });
  assert.deepEqual([await next(), await next()], [{ echo: "one" }, { echo: { two: 2 } }]);
  await worker.terminate();
  await ended;
  await worker.terminate(); // a second time is nothing
});

test("what a Worker throws reaches its owner as an error, whatever it is", async () => {
  for (const [task, text] of [
    ["throw", /thrown on purpose/],
    ["throw a string", /a string on purpose/],
  ] as const) {
    const { worker } = spawnEcho(task);
    const error = await new Promise<Error>((resolve) => worker.onError(resolve));
    assert.ok(error instanceof Error);
    assert.match(error.message, text);
    await worker.terminate();
  }
});

test("a module that is not there is an error, not silence", async () => {
  const missing = "./not-there.js";
  const worker = spawnWorker(new URL(missing, import.meta.url), null);
  const exit = new Promise<void>((resolve) => worker.onExit(resolve));
  const error = await new Promise<Error>((resolve) => worker.onError(resolve));
  assert.match(error.message, /not-there/);
  await exit;
});

test("a busy Worker is terminated", async () => {
  const { worker, next, ended } = spawnEcho("run for ever");
  await next();
  await worker.terminate();
  await ended;
});

test("who watches hears of every Worker's end by its number, until it stops watching", async () => {
  const heard: number[] = [];
  const stop = watchWorkerExits({
    onExit: (threadId) => void heard.push(threadId),
    onLook: () => {},
  });
  const listenersBefore = process.listenerCount("worker");
  const first = spawnEcho("end");
  const second = spawnEcho("run for ever");
  await second.next();
  await second.worker.terminate();
  await Promise.all([first.ended, second.ended]);
  assert.deepEqual(
    heard.toSorted((a, b) => a - b),
    [first.worker.hostThreadId, second.worker.hostThreadId].toSorted((a, b) => a - b),
  );
  stop();
  stop();
  assert.equal(process.listenerCount("worker"), listenersBefore - 1);
  await spawnEcho("end").ended;
  assert.equal(heard.length, 2);
});

test("this thread knows who it is", () => {
  assert.equal(hostThreadId, workerThreads?.threadId);
  assert.equal(
    threadName,
    workerThreads?.isMainThread === true ? "main" : `worker ${hostThreadId}`,
  );
  const words = randomWords(4);
  assert.equal(words.length, 4);
  assert.notDeepEqual(words, randomWords(4));
});

test("only a Worker can be entered", () => {
  if (workerThreads?.isMainThread === true)
    assert.throws(() => enterWorker(), /start its module with spawnWorker/);
});

const runNode = promisify(execFile);

/**
 * Runs a module of its own process against the built sources; returns what it printed. Fails when
 * it does not end.
 */
async function runProgram(code: string): Promise<string> {
  const index = new URL("../../src/index.js", import.meta.url).href;
  const program = `import { AddressSpace } from ${JSON.stringify(index)};\n${code}`;
  const { stdout } = await runNode(process.execPath, ["--input-type=module", "-e", program], {
    timeout: 20_000,
  });
  return stdout.trim();
}

test("a space that nobody disposed of keeps no process alive", async () => {
  assert.equal(
    await runProgram(`
      const space = await AddressSpace.create({ ramBytes: 1 << 20 });
      const p = space.mmapSync(4096, { buffer: new SharedArrayBuffer(4096) });
      space.viewSync(p, 4, "write");
      console.log(space.u32.load(p), "end");`),
    "0 end",
  );
});

test("operations under way do keep it alive until they are done", async () => {
  assert.equal(
    await runProgram(`
      const space = await AddressSpace.create({ ramBytes: 1 << 20 });
      const p = await space.mmap(1 << 20);
      space.write(p, new Uint8Array(5000)).then(() => space.dispose()).then(() => console.log("written"));`),
    "written",
  );
});
