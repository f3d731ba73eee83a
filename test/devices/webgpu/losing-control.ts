/** @module What a test and losing-worker.ts share. */

/** Words of `control`. */
export const STEPS_LEFT = 0;
export const IS_AFTER = 1;
export const HAS_NO_MEMORY = 2;
export const COMES_NEVER = 3;
export const CONTROL_WORDS = 4;

export interface LosingStart {
  /**
   * STEPS_LEFT: the GPU is lost when it has counted down to 0, by the step itself, before it or
   * (IS_AFTER) behind it.
   */
  readonly control: Int32Array;
}
