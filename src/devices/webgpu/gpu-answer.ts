/**
 * @module devices/webgpu/gpu-answer
 * Waits for a promise of the GPU as a task waits: for a word of shared memory.
 */

import type { Completion, DriverThread, Task } from "../../driver-interface.ts";
import { LOST, type Lost } from "./gpu.ts";
import { paceTurns } from "./turn-pace.ts";

/** How long after a rejection the loss of the device may become known. */
const LOSS_MS = 50;

/** The GPU that answers. */
export interface Answering {
  readonly device: { readonly lost: Promise<unknown> };
  readonly isLost: boolean;
  /**
   * How long the thread's event loop turns as fast as it can before it turns more slowly
   * (turn-pace.ts). Undefined: that is left to the host.
   */
  readonly eagerMs: number | undefined;
  /** Gives it up: it is lost from then on. */
  destroy(): void;
}

/** LOST: the promise was rejected. `answered` is nobody else's meanwhile. */
export function* gpuAnswer<T>(
  gpu: Answering,
  driver: DriverThread,
  promise: Promise<T>,
  answered: Completion,
): Task<T | Lost> {
  let answer: { value: T } | { error: unknown } | undefined;
  const wake = (settled: { value: T } | { error: unknown }): void => {
    answer = settled;
    driver.runSync(answered.complete());
  };
  promise.then(
    (value) => wake({ value }),
    (error: unknown) => wake({ error }),
  );
  if (gpu.eagerMs !== undefined) paceTurns(gpu.eagerMs, () => answer !== undefined);
  yield* answered.wait();
  if (answer !== undefined && "value" in answer) return answer.value;
  if (gpu.isLost) return LOST;
  // device.lost may be told after the rejection
  yield* lossOf(gpu, driver, answered);
  // What the GPU refuses in the middle of a chunk leaves it in no known state: it is given up.
  if (!gpu.isLost) gpu.destroy();
  return LOST;
}

/** Waits until the loss of the device is known, but not for long. */
function* lossOf({ device }: Answering, driver: DriverThread, answered: Completion): Task<void> {
  const wake = async (): Promise<void> => {
    await Promise.race([
      device.lost,
      new Promise<void>((resolve) => {
        setTimeout(resolve, LOSS_MS);
      }),
    ]);
    driver.runSync(answered.complete());
  };
  void wake();
  yield* answered.wait();
}
