/**
 * @module Ctrl-C as a request: the first one asks to stop in good order, a second one ends the
 * process at once.
 */

/** 128 + SIGINT, as shells report it. */
export const EXIT_INTERRUPTED = 130;

/** Calls `stop` at the first SIGINT. Disposing takes it off again. */
export function onInterrupt(stop: () => void): Disposable {
  const hear = (): void => stop();
  process.once("SIGINT", hear);
  return { [Symbol.dispose]: () => void process.off("SIGINT", hear) };
}
