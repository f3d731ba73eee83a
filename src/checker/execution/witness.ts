/**
 * @module Who listens to what goes wrong in an execution. Each call says what was seen and where; whether it is news, and how it is
 * told, is for the witness to say.
 */

import type { LockdepError } from "../../sync/lockdep.ts";
import type { Leak } from "../watch/leaks.ts";
import type { NotLinearizable } from "../watch/linearizability.ts";
import type { PlainAccess } from "../watch/plain-accesses.ts";
import type { Execution } from "./execution.ts";

export interface Witness {
  threw(run: Execution, task: number, error: unknown): void;
  lockdep(run: Execution, error: LockdepError): void;
  race(run: Execution, earlier: PlainAccess, later: PlainAccess): void;
  badAccess(run: Execution, kind: "use-after-free" | "double-free", freeStep: number): void;
  badWait(run: Execution, task: number, freeStep: number): void;
  broken(run: Execution, invariant: string, error: unknown): void;
  notLinearizable(run: Execution, bad: NotLinearizable): void;
  leaked(run: Execution, leak: Leak): void;
  /** The death of this task has stopped the machine, which the scenario forbids. */
  stopped(run: Execution, task: number): void;
}
