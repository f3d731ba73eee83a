/**
 * @module A call that runs in a Worker: start it with a value, exchange a few messages, get a
 * result or an error. A Worker is asked to end, and ends. One that shares no machine with others
 * can be ended where it is.
 *
 * Both halves are here: {@link callWorker} for the caller, and {@link answerCall} for the entry
 * file of the Worker. Types do not follow a value through a Worker's start or a port. So what one
 * side sends the other declares, in a file beside it.
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
  /**
   * Ends the Worker where it is: only one that shares no machine with other threads. `result`
   * rejects with `reason`.
   */
  end(reason: Error): void;
}

/**
 * Starts the entry file at `url` with `input`, which must be cloneable. `onReport` gets the reports
 * of the Worker.
 */
export function callWorker<Result>(
  url: URL,
  input: object,
  onReport: (value: never) => void = () => {},
): WorkerCall<Result> {
  const worker = new Worker(url, { workerData: input });
  let refuse: (reason: Error) => void = () => {};
  const result = new Promise<Result>((resolve, reject) => {
    refuse = reject;
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
    end: (reason) => {
      refuse(reason);
      void worker.terminate();
    },
  };
}

/** The call, as the entry file of the Worker sees it. */
export interface CallInProgress {
  report(value: unknown): void;
  /** True once a message waits, some turn of the event loop after it was sent. */
  hasMessage(): boolean;
  /** The messages in turn. Waits for one that has not been sent yet. */
  nextMessage(): Promise<unknown>;
}

/**
 * Answers the call for which this Worker was started. Call it once, in the entry file.
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
