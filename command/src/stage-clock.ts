/** @module Seconds by stage of a job: each lasts from the end of the one before. */

export class StageClock<Stage extends string> {
  readonly #seconds: Partial<Record<Stage, number>> = {};
  readonly #startMs: number = performance.now();
  #lastMs: number = this.#startMs;

  end(stage: Stage): void {
    const nowMs = performance.now();
    this.#seconds[stage] = (nowMs - this.#lastMs) / 1000;
    this.#lastMs = nowMs;
  }

  /** Of a stage that has ended; else 0. */
  secondsOf(stage: Stage): number {
    return this.#seconds[stage] ?? 0;
  }

  /** Until the end of the last stage. */
  total(): number {
    return (this.#lastMs - this.#startMs) / 1000;
  }
}
