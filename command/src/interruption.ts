/**
 * @module Ctrl-C as a request: the first one asks for an orderly stop, the second one ends the
 * process at once. In a supervised command the supervisor passes it on.
 */

import { parentPort } from "node:worker_threads";

import { INTERRUPT } from "./supervision/messages.ts";

/** 128 + SIGINT, as shells report it. */
export const EXIT_INTERRUPTED = 130;

/** Calls `stop` at the first SIGINT. Dispose it to remove the handler. */
export function onInterrupt(stop: () => void): Disposable {
  const port = parentPort;
  if (port === null) {
    const hear = (): void => stop();
    process.once("SIGINT", hear);
    return { [Symbol.dispose]: () => void process.off("SIGINT", hear) };
  }
  const hear = (message: unknown): void => {
    if (message === INTERRUPT) stop();
  };
  port.on("message", hear);
  // Only what the command itself does keeps its thread alive.
  port.unref();
  return { [Symbol.dispose]: () => void port.off("message", hear) };
}
