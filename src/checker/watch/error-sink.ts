/**
 * @module Receives what goes wrong in an execution. Each call says what was seen and where. The
 * sink decides whether it is a new finding and how to report it. `Run` is the whole execution:
 * watchers pass it on and do not use it.
 */

import type { LockdepError } from "../../sync/lockdep/lockdep.ts";
import type { Leak } from "./leaks.ts";
import type { NotLinearizable } from "./linearizability.ts";
import type { PlainAccess } from "./plain-accesses.ts";

export interface ErrorSink<Run> {
  threw(run: Run, task: number, error: unknown): void;
  lockdep(run: Run, error: LockdepError): void;
  race(run: Run, earlier: PlainAccess, later: PlainAccess): void;
  badAccess(run: Run, kind: "use-after-free" | "double-free", freeStep: number): void;
  badWait(run: Run, task: number, freeStep: number): void;
  broken(run: Run, invariant: string, error: unknown): void;
  notLinearizable(run: Run, bad: NotLinearizable): void;
  leaked(run: Run, leak: Leak): void;
  /** Every task returned, but the held table of this task's thread still lists the lock. */
  stillListed(run: Run, task: number, lock: string): void;
  /** The death of this task's thread has stopped the machine, and the scenario forbids that. */
  stopped(run: Run, task: number): void;
}
