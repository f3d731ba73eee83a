/**
 * @module devices/software/kernel-module
 * From the name of a kernel to its function: imports the module in a thread of the device. The
 * errors say what is wrong when that fails. What is wrong with the function itself is found by
 * item-runner.ts, which calls it.
 */

import { formatValue } from "../../space/failures.ts";
import { EINVAL, ENOENT } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import { textOf } from "../device-fault.ts";
import type { Kernel } from "./kernel.ts";

/** Exports that a message names. */
const NAMES_MAX = 8;

/**
 * The kernel that the module at `url` exports as `name`. Rejects with HmmError ENOENT, when there
 * is no such module, or EINVAL.
 */
export async function loadKernel(url: string, name: string): Promise<Kernel> {
  let exports: Record<string, unknown>;
  try {
    exports = (await import(url)) as Record<string, unknown>;
  } catch (error) {
    throw importFailure(url, error);
  }
  const kernel = exports[name];
  if (typeof kernel === "function") return kernel as Kernel;
  throw new HmmError(
    EINVAL,
    "dispatch",
    `Cannot run the kernel "${name}": ${url} ${kernel === undefined ? "exports nothing of that name" : `exports ${formatValue(kernel)} under that name, and no function`}; ${exportsText(exports)}`,
  );
}

function exportsText(exports: Record<string, unknown>): string {
  const names = Object.keys(exports).filter((name) => typeof exports[name] === "function");
  if (names.length === 0) return "it exports no function; export the kernel";
  const listed = names.slice(0, NAMES_MAX).join(", ");
  return `check the name; it exports the functions ${listed}${names.length > NAMES_MAX ? ", and others" : ""}`;
}

/**
 * What went wrong with `import(url)`. Hosts have no common sign for the four cases, so this reads
 * what V8, Node and browsers report.
 */
export function importFailure(url: string, error: unknown): HmmError {
  const failed = (errno: number, state: string, remedy: string): HmmError =>
    new HmmError(errno, "dispatch", `Cannot load the kernel's module ${url}: ${state}; ${remedy}`);
  const said = textOf(error);
  if (isNotFound(error)) {
    const other = otherModule(url, error);
    return other === undefined
      ? failed(ENOENT, said, "check its URL")
      : failed(ENOENT, `it imports what is not there: ${said}`, "check its imports");
  }
  if (error instanceof SyntaxError && !isThrownByCode(error)) {
    return failed(
      EINVAL,
      `it, or a module that it imports, does not parse: ${said}${placeOf(error)}`,
      "mend it there",
    );
  }
  const name = error instanceof Error ? `${error.name}: ` : "";
  return failed(
    EINVAL,
    `importing it threw ${name}${said}`,
    "a kernel's module has to load in a Worker of its own",
  );
}

/**
 * Node has a code for it. Browsers reject with a TypeError, and say the URL that they could not
 * fetch.
 */
function isNotFound(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ("code" in error) return error.code === "ERR_MODULE_NOT_FOUND";
  return (
    error instanceof TypeError && /fetch|load|import/i.test(error.message) && !isThrownByCode(error)
  );
}

/**
 * The module that is missing, when that is not the one at `url` but one that it imports; as far as
 * the host reports it.
 */
function otherModule(url: string, error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const missing = "url" in error && typeof error.url === "string" ? error.url : undefined;
  if (missing !== undefined) return missing === url ? undefined : missing;
  return /Cannot find package/.test(error.message) ? error.message : undefined;
}

/**
 * Whether the error was thrown by a module's code, and not by who loads modules: by the first frame
 * of its stack that has a place. Of an error of the loader that is none (Node: its own), or ours,
 * who has asked for the import (Chromium).
 */
function isThrownByCode({ stack = "" }: Error): boolean {
  const first = stack
    .split("\n")
    .find((line) => /^\s+at /.test(line) && !line.includes("<anonymous>)"));
  if (first === undefined || /^\s+at async /.test(first)) return false;
  return !first.includes("node:internal") && !first.includes(import.meta.url);
}

/** Where the parser stopped, when the stack begins with that. */
function placeOf({ stack = "" }: Error): string {
  const [first = ""] = stack.split("\n");
  return /^\S+:\d+$/.test(first) ? ` (${first})` : "";
}
