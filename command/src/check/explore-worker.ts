/**
 * @module The Worker that explores scenarios for `hmm check`, one job after the other, until there
 * are no more.
 */

import { answerCall } from "../worker-call.ts";
import { doJob } from "./explore-job.ts";
import type { ExploreJob, JobOutcome } from "./explore-job.ts";
import type { Progress } from "../../../src/checker/explore.ts";

/** The input of the Worker. */
export interface ExploreWorkerInput {
  /** One word: not 0 once everything shall stop. */
  readonly cancelled: SharedArrayBuffer;
  /** One word: 0 until the Worker has loaded, then another number with each execution. */
  readonly pulse: SharedArrayBuffer;
}

/** What it reports. */
export type ExploreWorkerReport =
  | { readonly kind: "progress"; readonly progress: Progress }
  | { readonly kind: "outcome"; readonly outcome: JobOutcome };

await answerCall<void>(async ({ cancelled, pulse }: ExploreWorkerInput, call) => {
  const flag = new Int32Array(cancelled);
  const beats = new Int32Array(pulse);
  const beat = (): void => {
    // Never 0 again: as a signed word it would need 2^32 executions of one Worker.
    beats[0] = ((beats[0] ?? 0) + 1) | 0;
  };
  beat();
  for (;;) {
    const job = (await call.nextMessage()) as ExploreJob | undefined;
    if (job === undefined) return;
    beat();
    const outcome = await doJob(job, {
      onProgress: (progress) =>
        call.report({ kind: "progress", progress } satisfies ExploreWorkerReport),
      isCancelled: () => {
        beat();
        return flag[0] !== 0;
      },
      onReplay: beat,
    });
    beat();
    call.report({ kind: "outcome", outcome } satisfies ExploreWorkerReport);
  }
});
