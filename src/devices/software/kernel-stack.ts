/**
 * @module devices/software/kernel-stack
 * The kernel's lines in the stack of an error that came out of it. They are above the line of the
 * runner that has called the kernel, go with the failure to the device's owner, and stand there
 * before the line of the dispatch. Of hosts whose stacks have V8's form; elsewhere there are none.
 */

import type { HmmError } from "../../driver-interface.ts";

/** By failure, on its way to the owner. */
const lines = new WeakMap<HmmError, readonly string[]>();

/**
 * Notes the kernel's lines of `thrown` for `failure`. `caller`: an error that was made by the
 * function that has called the kernel.
 */
export function noteKernelLines(failure: HmmError, thrown: unknown, caller: Error): void {
  if (!(thrown instanceof Error)) return;
  const all = framesOf(thrown);
  const [, callersCaller] = framesOf(caller);
  // Where the caller itself is in the stack, it stands at another place of its code.
  const end = callersCaller === undefined ? -1 : all.indexOf(callersCaller);
  lines.set(failure, end < 1 ? all : all.slice(0, end - 1));
}

/** What was noted, if anything was. */
export function kernelLinesOf(failure: HmmError): readonly string[] {
  return lines.get(failure) ?? [];
}

function framesOf({ stack }: Error): string[] {
  // A program may have made it anything.
  return typeof stack === "string" ? stack.split("\n").filter((line) => /^ +at /.test(line)) : [];
}
