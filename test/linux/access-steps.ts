/** @module The steps of a trace that access memory, beside ours. */

import { SegmentationFault } from "../../src/index.ts";
import { BASE, type Play, answerOf } from "./play.ts";
import { PAGE_BYTES } from "./window-map.ts";

/** load, store and add. */
export function playAccess(play: Play): void {
  const { space } = play;
  const address = play.address(0);
  const width = play.arg(1);
  const accessor = width === "1" ? space.u8 : width === "2" ? space.u16 : space.u32;
  const value = play.step.call === "load" ? 0 : Number(play.arg(2));
  switch (play.step.call) {
    case "load":
      return play.expect(answerOf(() => accessor.load(address)));
    case "store":
      return play.expect(answerOf(() => accessor.store(address, value)));
    case "add":
      return play.expect(answerOf(() => accessor.atomicAdd(address, value)));
    default:
      throw new Error(`trace.c printed the call ${play.step.call}`);
  }
}

/** As in trace-space.c. */
function bytesToWrite(length: number, first: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => first + i * 7 + Math.floor(i / PAGE_BYTES));
}

/**
 * Both end at the first page that may not be accessed; the kernel says how many bytes came before.
 */
export function playCopy(play: Play): void {
  const [address, length] = play.range();
  const isRead = play.step.call === "read";
  const bytes = isRead ? new Uint8Array(length) : bytesToWrite(length, Number(play.arg(2)));
  let done = length;
  try {
    if (isRead) play.space.readSync(address, bytes);
    else play.space.writeSync(address, bytes);
  } catch (error) {
    if (!(error instanceof SegmentationFault) || error.address === undefined) throw error;
    done = error.address - address;
  }
  play.expect(done === 0 ? "EFAULT" : String(done));
  if (!isRead || done === 0) return;
  let sum = 0;
  for (const byte of bytes.subarray(0, done)) sum = (sum * 31 + byte) % 2 ** 32;
  if (String(sum) !== play.step.answer[1]) play.fail("ours reads other bytes");
}

/** Which private pages have a frame of their own. */
export function playFrames(play: Play): void {
  const { windowPages } = play.scene;
  const { letters } = play.ours;
  const entries = play.space.pagemapSync(BASE, windowPages * PAGE_BYTES);
  const frames = entries.map(({ pfn, zero }, page) => {
    if ("NRW".includes(letters[page] ?? ".")) return "-";
    return pfn >= 0 && !zero ? "f" : ".";
  });
  play.expect(frames.join(""));
}

/** The first word of each page of the window. */
export function playDump(play: Play): void {
  for (const [page, expected] of play.step.answer.entries()) {
    const ours = answerOf(() => play.space.u32.load(BASE + page * PAGE_BYTES));
    if (ours !== expected) play.fail(`page ${page} is ${ours}`);
  }
}
