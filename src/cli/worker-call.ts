/**
 * @module A call that runs in a Worker: start it with a value, perhaps hear how far it is, get a result or its error.
 * The two halves of the conversation are here side by side: {@link callWorker} for who calls, {@link answerCall} for the
 * Worker's entry file.
 */

import { parentPort, Worker, workerData } from "node:worker_threads";

type Message<Result> =
  | { readonly kind: "progress"; readonly done: number }
  | { readonly kind: "result"; readonly value: Result };

export interface WorkerCall<Result> {
  /** Settles when the Worker has answered, or has died without an answer. */
  readonly result: Promise<Result>;
  /** Asks the Worker to come to an end: its `stopRequested()` becomes true. */
  stop(): void;
  /** Ends the Worker wherever it is. Resolves when it is gone. */
  terminate(): Promise<void>;
}

/** Starts the entry file at `url` with `input`, which must be cloneable. */
export function callWorker<Result>(
  url: URL,
  input: object,
  onProgress: (done: number) => void = () => {},
): WorkerCall<Result> {
  const worker = new Worker(url, { workerData: input });
  const result = new Promise<Result>((resolve, reject) => {
    worker.on("message", (message: Message<Result>) => {
      if (message.kind === "progress") onProgress(message.done);
      else resolve(message.value);
    });
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`The Worker ${url.pathname} ended with ${code} and no answer`)));
  });
  result.catch(() => {}); // whoever awaits it hears of it; a call that is terminated has nobody
  return {
    result,
    stop: () => worker.postMessage("stop"),
    terminate: async () => void (await worker.terminate()),
  };
}

/** What a Worker's entry file sees of the call. */
export interface CallInProgress {
  report(done: number): void;
  /** Becomes true some turn of the event loop after the caller's `stop()`. */
  stopRequested(): boolean;
}

/** Answers the call that this Worker was started for, given the input it was started with. Once, in the entry file. */
export async function answerCall<Result>(
  // Input is what callWorker was given on the other side, which no type can follow through a Worker's start.
  answer: (input: never, call: CallInProgress) => Promise<Result>,
): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error("Cannot answer a call: this file is the entry of a Worker; start it as one");
  let stopped = false;
  port.on("message", () => {
    stopped = true;
  });
  const post = (message: Message<Result>): void => port.postMessage(message);
  try {
    const value = await answer(workerData as never, {
      report: (done) => post({ kind: "progress", done }),
      stopRequested: () => stopped,
    });
    post({ kind: "result", value });
  } finally {
    port.close(); // nothing else keeps this Worker alive
  }
}
