/**
 * @module Typed accesses in a page's frames while three Workers change the same address space: they
 * map, unmap, fork, discard and store as fast as they can. The page itself stores and loads in each
 * frame that the browser draws, and many of its stores fault, since each fork write-protects its
 * pages. Of them, none should throw EAGAIN. The wait of an access is bounded (SPIN_LIMIT_MS of
 * sync/runners/run-blocking.ts): with 30 ms instead, on a machine with four busy threads for each
 * processor, 12 to 23 accesses of the 360,000 were refused.
 */

import { AddressSpace, HmmError } from "../../src/index.ts";
import { check, pageTest } from "./page-cases.ts";
import { Peer } from "./peers.ts";

const PAGE = 4096;
const PAGES = 64;
const WORKERS = 3;
const FRAMES = 180;
const ACCESSES_PER_FRAME = 2000;
/** A machine that is busy with other things may stop a Worker that is waited for for long. */
const REFUSED_MAX = 3;

/** The next frame that the browser draws. */
function nextFrame(): Promise<number> {
  const request = requestAnimationFrame;
  check(request !== undefined, "a window has frames");
  return new Promise((resolve) => request(resolve));
}

/** What a frame's accesses came to. */
interface FrameResult {
  readonly refused: number;
  readonly ms: number;
}

function accessInFrame(space: AddressSpace, start: number, frame: number): FrameResult {
  const beganMs = performance.now();
  let refused = 0;
  for (let i = 0; i < ACCESSES_PER_FRAME; i++) {
    const p = start + ((i * 7) % PAGES) * PAGE + 4 * (i & 511);
    try {
      if ((i & 3) === 0) space.u32.store(p, frame * ACCESSES_PER_FRAME + i);
      else space.u32.load(p);
    } catch (error) {
      if (!(error instanceof HmmError) || error.code !== "EAGAIN") throw error;
      refused++;
    }
  }
  return { refused, ms: performance.now() - beganMs };
}

pageTest(
  "no access of a frame throws EAGAIN while three Workers change the space",
  async (note) => {
    const space = await AddressSpace.create({ ramBytes: 2 ** 24 });
    const start = await space.mmap(PAGES * PAGE);
    const peers: Peer[] = [];
    for (let i = 0; i < WORKERS; i++) peers.push(await Peer.start(space));
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const churns = peers.map((peer, i) => peer.do("churnUntil", i + 1, stop));
    let refused = 0;
    const times: number[] = [];
    for (let frame = 0; frame < FRAMES; frame++) {
      await nextFrame();
      const result = accessInFrame(space, start, frame);
      refused += result.refused;
      times.push(result.ms);
    }
    Atomics.store(stop, 0, 1);
    await Promise.all(churns);
    const { faults } = await space.stats();
    for (const peer of peers) await peer.leave();
    await space.dispose();
    times.sort((a, b) => a - b);
    const at = (part: number): string => (times[Math.floor(part * (FRAMES - 1))] ?? 0).toFixed(1);
    note(
      `${FRAMES * ACCESSES_PER_FRAME} accesses, ${faults} faults, ${refused} refused; ` +
        `a frame's accesses took ${at(0.5)} ms, 1 in 100 ${at(0.99)}, at most ${at(1)}`,
    );
    check(faults > FRAMES, "too few of the accesses faulted to show anything");
    check(refused <= REFUSED_MAX, `${refused} of the accesses threw EAGAIN`);
  },
  120_000,
);
