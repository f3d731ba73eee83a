/**
 * @module Which task holds which lock after each step of an execution, computed from the steps.
 * Lockdep's own list loses a lock when its release begins, one step too early for a timeline.
 */

import { STEP_KINDS } from "../../sync/tasks/step-kinds.ts";
import type { StepKind } from "../../sync/tasks/step-kinds.ts";
import type { Wait } from "../../sync/tasks/task.ts";
import type { LockHold } from "./recording.ts";

type OpenHold = { -readonly [K in keyof LockHold]: LockHold[K] };

const STILL_HELD = -1;

export class LockHolds {
  readonly #holds: OpenHold[] = [];
  /** For each lock's word: the last step that released it, and its task. */
  readonly #released = new Map<number, { step: number; task: number }>();

  /** All holds so far, in the order in which they began. */
  get all(): readonly LockHold[] {
    return this.#holds;
  }

  /** The tasks that hold the lock at `at` now. */
  holdersOf(at: number): number[] {
    return [
      ...new Set(
        this.#holds
          .filter((hold) => hold.at === at && hold.to === STILL_HELD)
          .map(({ task }) => task),
      ),
    ];
  }

  /**
   * The step by which another task last released the lock that `task` now takes or waits for; -1 if
   * there is none.
   */
  releasedBefore(at: number, task: number): number {
    const released = this.#released.get(at);
    return released === undefined || released.task === task ? -1 : released.step;
  }

  /** Whether an operation whose first word held `before` has taken a lock. */
  isTaking({ kind, expected }: Wait, before: number): boolean {
    const { takes, succeeds }: StepKind = STEP_KINDS[kind];
    return takes !== undefined && (succeeds === undefined || succeeds(before, expected));
  }

  /** `step` of `task` performed `wait`; its first word held `before`, and then `after`. */
  note(
    step: number,
    task: number,
    wait: Wait,
    values: { before: number; after: number; label: string },
  ): void {
    const { index: at, kind } = wait;
    const { takes: mode, releases }: StepKind = STEP_KINDS[kind];
    if (mode !== undefined) {
      if (!this.isTaking(wait, values.before)) return;
      this.#holds.push({ task, label: values.label, at, mode, from: step, to: STILL_HELD });
      return;
    }
    const hold = this.#holds.findLast(
      (open) => open.task === task && open.at === at && open.to === STILL_HELD,
    );
    if (hold === undefined) return;
    if (kind === "downgrade") {
      hold.to = step;
      this.#holds.push({ ...hold, mode: "shared", from: step, to: STILL_HELD });
    } else if (releases === true) {
      hold.to = step;
      this.#released.set(at, { step, task });
    }
  }
}
