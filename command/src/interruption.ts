/**
 * @module Ctrl-C as a request: the first one asks for an orderly stop, the second one ends the
 * process at once.
 */

/** 128 + SIGINT, as shells report it. */
export const EXIT_INTERRUPTED = 130;

/** Calls `stop` at the first SIGINT. Dispose it to remove the handler. */
export function onInterrupt(stop: () => void): Disposable {
  const hear = (): void => stop();
  process.once("SIGINT", hear);
  return { [Symbol.dispose]: () => void process.off("SIGINT", hear) };
}
