/**
 * @module A call that runs in a Worker: start it with a value, exchange a few messages with it, get
 * a result or its error. There is no way to terminate it on purpose: a thread of an address space
 * that dies inside a critical section takes the machine down. Workers are told that there is no
 * more to do, and leave. The two halves of the conversation are here side by side: {@link
 * callWorker} for who calls, {@link answerCall} for the Worker's entry file. No type can follow a
 * value through a Worker's start or a port: what one side sends, the other declares, and both stand
 * in neighbouring files.
 */

import { parentPort, Worker, workerData } from "node:worker_threads";

type Answer =
  | { readonly kind: "report"; readonly value: never }
  | { readonly kind: "result"; readonly value: never };

export interface WorkerCall<Result> {
  /** Settles when the Worker has answered, or has died without an answer. */
  readonly result: Promise<Result>;
  /** Sends a message that the Worker's `nextMessage()` waits for. */
  send(message: unknown): void;
}

/**
 * Starts the entry file at `url` with `input`, which must be cloneable. `onReport` hears what the
 * Worker reports.
 */
export function callWorker<Result>(
  url: URL,
  input: object,
  onReport: (value: never) => void = () => {},
): WorkerCall<Result> {
  const worker = new Worker(url, { workerData: input });
  const result = new Promise<Result>((resolve, reject) => {
    worker.on("message", (answer: Answer) => {
      if (answer.kind === "report") onReport(answer.value);
      else resolve(answer.value);
    });
    worker.once("error", reject);
    worker.once("exit", (code) =>
      reject(new Error(`The Worker ${url.pathname} ended with ${code} and no answer`)),
    );
  });
  result.catch(() => {}); // whoever awaits it hears of it, perhaps after another call has failed
  return {
    result,
    send: (message) => worker.postMessage(message),
  };
}

/** What a Worker's entry file sees of the call. */
export interface CallInProgress {
  report(value: unknown): void;
  /** True once a message waits, some turn of the event loop after it was sent. */
  hasMessage(): boolean;
  /** The messages in turn. Waits for one that has not been sent yet. */
  nextMessage(): Promise<unknown>;
}

/**
 * Answers the call that this Worker was started for, given the input it was started with. Once, in
 * the entry file.
 */
export async function answerCall<Result>(
  answer: (input: never, call: CallInProgress) => Promise<Result>,
): Promise<void> {
  const port = parentPort;
  if (port === null)
    throw new Error("Cannot answer a call: this file is the entry of a Worker; start it as one");
  const messages: unknown[] = [];
  let wake = (): void => {};
  port.on("message", (message: unknown) => {
    messages.push(message);
    wake();
  });
  const nextMessage = async (): Promise<unknown> => {
    if (messages.length === 0) await new Promise<void>((resolve) => void (wake = resolve));
    return messages.shift();
  };
  try {
    const value = await answer(workerData as never, {
      report: (reported) => port.postMessage({ kind: "report", value: reported }),
      hasMessage: () => messages.length > 0,
      nextMessage,
    });
    port.postMessage({ kind: "result", value });
  } finally {
    port.close(); // nothing else keeps this Worker alive
  }
}
