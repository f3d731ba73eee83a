/**
 * @module The Worker of the tests of host/: it does what its start data says, and echoes every
 * message.
 */

import { hostThreadId, threadName } from "../../src/host/thread-identity.ts";
import { enterWorker } from "../../src/host/worker-scope.ts";

/** What the owner starts it with. */
export interface EchoStart {
  readonly words: Int32Array;
  readonly task: "echo" | "throw" | "throw a string" | "end" | "run for ever";
}

const scope = enterWorker();
const { words, task } = (await scope.start) as EchoStart;
words[0] = 7;
scope.post({ hostThreadId, threadName });
if (task === "throw") throw new RangeError("thrown on purpose");
// eslint-disable-next-line typescript/only-throw-error -- what a Worker throws may be anything
if (task === "throw a string") throw "a string on purpose";
if (task === "run for ever") for (;;) words[1] = 1;
if (task === "echo") scope.onMessage((message) => scope.post({ echo: message }));
