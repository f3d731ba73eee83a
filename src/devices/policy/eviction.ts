/**
 * @module devices/policy/eviction
 * Which pages make room in device memory: a clock with a second chance, which goes by real use. UVM
 * evicts what was brought in longest ago, and AMD what faulted longest ago. Both throw out pages
 * that are hot and therefore never fault. Here a page is used when a thread fetches its
 * translation, and the hand sees to it that hot pages are fetched again and again:
 *
 *     device thread                                  hand, in the service owner
 *     cache miss: fetches the entry, ACCESSED = 1
 *     hits, hits, hits (no trace)
 *                                                    ACCESSED was 1: clears it,
 *                                                    flushes the translation
 *     cache miss: fetches again, ACCESSED = 1
 *                                                    next time round: still in use
 *
 * Holding the driver lock, as the service owner. What happens to the entries of the pages is the
 * caller's task (service/frame-reserve.ts).
 */

/** What the clock sees of device memory, frame by frame. */
export interface ClockFrames {
  /** How many there are. */
  readonly frames: number;
  /** The frame at which the hand stands. */
  hand: number;
  /** Whether the frame holds a page. */
  isMapped(frame: number): boolean;
  /** Whether its translation was fetched since the hand came by. */
  isAccessed(frame: number): boolean;
  /** Gives it a second chance: only a use that is still to come counts from now on. */
  spare(frame: number): void;
  /** Takes it from its page. It is not mapped any more. */
  claim(frame: number): void;
}

/**
 * Claims frames until `into` has `wanted` of them; it has `already`. Returns how many it has then:
 * fewer when device memory has no more. Twice round at most: the first time may do no more than
 * spare frames.
 */
export function evictUnused(
  clock: ClockFrames,
  into: Int32Array,
  already: number,
  wanted: number,
): number {
  let taken = already;
  for (let steps = 2 * clock.frames; steps > 0 && taken < wanted; steps--) {
    const frame = clock.hand;
    clock.hand = next(clock, frame);
    if (!clock.isMapped(frame)) continue;
    if (clock.isAccessed(frame)) clock.spare(frame);
    else {
      clock.claim(frame);
      into[taken++] = frame;
    }
  }
  return taken;
}

/**
 * As `evictUnused`, but takes no page that is in use, nor a chance from one: of the frames before
 * the hand only those that it would take at once, as far as `wanted` frames reach. The hand goes on
 * behind them: what is prefetched into them has not been used yet, and would be the first to leave.
 */
export function evictCold(
  clock: ClockFrames,
  into: Int32Array,
  already: number,
  wanted: number,
): number {
  let taken = already;
  let frame = clock.hand;
  for (let steps = Math.min(2 * wanted, clock.frames); steps > 0 && taken < wanted; steps--) {
    if (clock.isMapped(frame) && !clock.isAccessed(frame)) {
      clock.claim(frame);
      into[taken++] = frame;
      clock.hand = next(clock, frame);
    }
    frame = next(clock, frame);
  }
  return taken;
}

function next({ frames }: ClockFrames, frame: number): number {
  return frame + 1 === frames ? 0 : frame + 1;
}
