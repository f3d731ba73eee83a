/**
 * @module Who listens to what goes wrong in an execution. Each call says what was seen and where.
 * Whether it is news, and how it is told, is for the witness to say. `Run` is the whole execution,
 * which watchers hand on and do not know.
 */

import type { LockdepError } from "../../sync/lockdep/lockdep.ts";
import type { Leak } from "./leaks.ts";
import type { NotLinearizable } from "./linearizability.ts";
import type { PlainAccess } from "./plain-accesses.ts";

export interface Witness<Run> {
  threw(run: Run, task: number, error: unknown): void;
  lockdep(run: Run, error: LockdepError): void;
  race(run: Run, earlier: PlainAccess, later: PlainAccess): void;
  badAccess(run: Run, kind: "use-after-free" | "double-free", freeStep: number): void;
  badWait(run: Run, task: number, freeStep: number): void;
  broken(run: Run, invariant: string, error: unknown): void;
  notLinearizable(run: Run, bad: NotLinearizable): void;
  leaked(run: Run, leak: Leak): void;
  /** Every task returned, and the thread of this one is still listed as holding the lock. */
  stillListed(run: Run, task: number, lock: string): void;
  /** The death of this task has stopped the machine, which the scenario forbids. */
  stopped(run: Run, task: number): void;
}
