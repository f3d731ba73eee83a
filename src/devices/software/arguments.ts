/** @module devices/software/arguments: what a program gives a software device, checked. */

import { EINVAL, HmmError, PAGE_BYTES, TASK_SIZE_PAGES } from "../../driver-interface.ts";

/** EINVAL: what is wrong, and what to do. */
export function invalid(syscall: string, text: string): HmmError {
  return new HmmError(
    EINVAL,
    syscall,
    `Cannot ${syscall === "device" ? "make the device" : syscall}: ${text}`,
  );
}

/** Throws EINVAL unless `value` is a whole number in the range, and a multiple of `step`. */
export function checkWhole(
  name: string,
  value: number,
  least: number,
  most: number,
  step: number,
  syscall: string = "device",
): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most && value % step === 0) return;
  const multiple = step === 1 ? "" : `, a multiple of ${step}`;
  throw invalid(
    syscall,
    `${name} is ${String(value)}; give a whole number from ${least} to ${most}${multiple}`,
  );
}

/** Throws EINVAL unless `bytes` are bytes, and have room in an address space from `address` on. */
export function checkBytes(syscall: string, address: number, bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array))
    throw invalid(syscall, "the bytes are not a Uint8Array; give one");
  checkWhole("address", address, 0, TASK_SIZE_PAGES * PAGE_BYTES - bytes.length, 1, syscall);
}
