/** @module Two clocks: one for this thread's own waits, one whose readings threads may compare through shared words. */

/** Milliseconds, monotonic, of this thread only. */
export function monotonicMs(): number {
  return performance.now();
}

/**
 * Milliseconds as a wrapping 32-bit integer, comparable between threads to within their clocks' agreement: subtract
 * two readings and `| 0` the result. Good enough for rate limits, not for anything that must be exact.
 */
export function sharedMs(): number {
  return Math.trunc(performance.timeOrigin + performance.now()) | 0;
}
