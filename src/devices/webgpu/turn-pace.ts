/**
 * @module devices/webgpu/turn-pace
 * Keeps a thread that waits for its GPU from taking a whole processor. Dawn for Node looks for an
 * answer in each turn of the event loop, and asks for the next turn at once, so the loop turns as
 * fast as it can, 4 us or so a turn, each with garbage of its own. Where the GPU is a processor
 * (SwiftShader on two cores), a dispatch that streamed 256 MiB took 1.5 times as long and as much
 * processor time for that, and 40 MiB more memory.
 *
 * Of the device's own Worker, in Node: nothing else wants that loop to turn. Browsers tell of an
 * answer by themselves.
 */

import { pauseThread } from "../../driver-interface.ts";

/** What a turn takes at least, once it is slow. A host wakes a sleeper some 0.05 ms later. */
const TURN_MS = 0.1;

/**
 * How long to look as fast as one can. A GPU answers a short pass within a fraction of a
 * millisecond. A processor that plays one has no time for a thread that only looks.
 */
export function eagerMsOn(info: GPUAdapterInfo): number {
  return info.isFallbackAdapter ? 0.1 : 1;
}

/**
 * Slows the event loop down until `isAnswered`, which is asked in each turn: from `eagerMs` on,
 * for an answer that comes soon shall not be waited for. It ends with the wait that it belongs to.
 */
export function paceTurns(eagerMs: number, isAnswered: () => boolean): void {
  const slowMs = performance.now() + eagerMs;
  const turn = (): void => {
    if (isAnswered()) return;
    if (performance.now() >= slowMs) pauseThread(TURN_MS);
    setImmediate(turn);
  };
  setImmediate(turn);
}
