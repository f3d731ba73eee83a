/** @module What the smoke page tells its workers to do. */

/** How many asynchronous waiters a worker leaves behind when it is told to arm them. */
export const armedWaiters = 64;

export interface SmokeCommand {
  readonly buffer: SharedArrayBuffer;
  /**
   * "add" atomically adds to word 0 and wakes the page; "arm" leaves asynchronous waiters on word 2
   * behind; "arm and sleep" then blocks on word 1 for ever.
   */
  readonly work: "add" | "arm" | "arm and sleep";
}
