/**
 * @module space/requirements
 * What an operation needs of its host and its thread, and the errors where it lacks that.
 */

import { mayBlock } from "../sync/atomics.ts";
import { ENOSYS, EOPNOTSUPP } from "../sync/errno.ts";
import { type Syscall, customFailure } from "./failures.ts";

/**
 * Throws unless this host shares memory between threads: a browser does so on cross-origin isolated
 * pages only.
 */
export function requireSharedMemory(syscall: Syscall): void {
  if (typeof SharedArrayBuffer === "function") return;
  throw customFailure(
    syscall,
    ENOSYS,
    "this page is not cross-origin isolated, so the browser gives it no SharedArrayBuffer; send the page and the scripts of its Workers with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp",
  );
}

/** Throws unless this thread may block. */
export function requireBlocking(syscall: Syscall): void {
  requireSharedMemory(syscall);
  if (mayBlock()) return;
  throw customFailure(
    syscall,
    EOPNOTSUPP,
    "this thread may not block; use the form that returns a promise",
  );
}
