/** @module The Worker that worker-call.test.ts calls. It does what its input says. */

import { answerCall } from "../../command/src/worker-call.ts";

/** What to do: answer, answer after a message, throw, or leave without an answer. */
export interface CalledInput {
  readonly deed: "answer" | "echo" | "throw" | "leave";
}

await answerCall(async ({ deed }: CalledInput, call): Promise<unknown> => {
  if (deed === "throw") throw new RangeError("thrown in the Worker");
  if (deed === "leave") process.exit(3);
  if (deed === "answer") return call.hasMessage();
  call.report("ready");
  const first = await call.nextMessage();
  return [first, await call.nextMessage()];
});
