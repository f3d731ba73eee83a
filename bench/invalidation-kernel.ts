/**
 * @module The kernel of invalidation.ts: runs in the device's Worker for the whole benchmark and
 * does what it is ordered.
 */

import type { TypedAccess } from "../src/index.ts";
import {
  BALL,
  CHANNEL,
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

const PAGE_BYTES = 4096;
const control = await receiveControl();

function receiveControl(): Promise<Int32Array> {
  return new Promise((resolve) => {
    const channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = (event) => {
      channel.close();
      resolve((event as { data: Int32Array }).data);
    };
    channel.postMessage("here");
  });
}

/** `args`: address of the steady page. */
export function serve(memory: TypedAccess, _item: number, args: readonly number[]): void {
  const [steady = 0] = args;
  for (;;) {
    const order = waitWhile(ORDER, IDLE);
    const count = Atomics.load(control, COUNT);
    const pages = Atomics.load(control, FIRST_PAGE) * PAGE_BYTES;
    if (order === PING_PONG) pingPong(count);
    else if (order === SPIN_PONG) spinPong(count);
    else if (order === WATCH) watch(memory, pages, count);
    else if (order === LOAD_ONCE) loadOnce(memory, pages, steady, count);
    Atomics.store(control, ORDER, IDLE);
    Atomics.notify(control, ORDER);
    if (order === LEAVE) return;
  }
}

/** A wake may be one that was meant for an earlier wait: only the word tells. */
function waitWhile(index: number, value: number): number {
  for (;;) {
    const seen = Atomics.load(control, index);
    if (seen !== value) return seen;
    Atomics.wait(control, index, value);
  }
}

function pingPong(count: number): void {
  for (let i = 0; i < count; i++) {
    waitWhile(BALL, 2 * i);
    Atomics.store(control, BALL, 2 * i + 2);
    Atomics.notify(control, BALL);
  }
}

function spinPong(count: number): void {
  for (let i = 0; i < count; i++) {
    while (Atomics.load(control, BALL) === 2 * i);
    Atomics.store(control, BALL, 2 * i + 2);
  }
}

function watch({ u32 }: TypedAccess, pages: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const address = pages + i * PAGE_BYTES;
    const before = u32.load(address);
    Atomics.store(control, USING, i + 1);
    while (u32.load(address) === before);
    Atomics.store(control, SEEN, i + 1);
  }
}

function loadOnce({ u32 }: TypedAccess, pages: number, steady: number, count: number): void {
  for (let i = 0; i < count; i++) {
    u32.load(pages + i * PAGE_BYTES);
    Atomics.store(control, USING, i + 1);
    while (Atomics.load(control, GO) <= i) u32.load(steady);
  }
}
