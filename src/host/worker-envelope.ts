/**
 * @module host/worker-envelope
 * What this library sends to a Worker and back. A program may hand over a Worker of its own, and
 * may send messages of its own on it. So each of ours stands in an envelope, and what stands in
 * none is not ours.
 *
 *   owner                            Worker
 *   -----                            ------
 *   starts it                        its module loads, and enters the Worker
 *                      <- "hello" -
 *   sends the start data - "start" ->
 *   ...                <- "item" ->  ...
 *
 * The start data waits for the hello: a browser drops a message that comes before the module
 * listens, and the module may listen late.
 */

/** One message in its envelope. */
export interface Envelope {
  readonly "hmm-ts": "hello" | "start" | "item";
  readonly data?: unknown;
}

/** The envelope that arrived; undefined for a message of the program's own. */
export function openEnvelope(message: unknown): Envelope | undefined {
  if (typeof message !== "object" || message === null || !("hmm-ts" in message)) return undefined;
  return message as Envelope;
}
