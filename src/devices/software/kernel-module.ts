/**
 * @module devices/software/kernel-module
 * From the name of a kernel to its function, in a thread of the device: one that its Worker serves,
 * or that of a module, which is imported. The errors say what is wrong when that fails. What is
 * wrong with the function itself is found by item-runner.ts, which calls it.
 */

import { EINVAL, ENOENT, formatValue, HmmError } from "../../driver-interface.ts";
import { textOf } from "../device-fault.ts";
import type { Kernel } from "./kernel.ts";

/** Exports that a message names. */
const NAMES_MAX = 8;

/** The kernels of a Worker, by name. */
export type ServedKernels = Readonly<Record<string, Kernel>>;

/** Names one: with a module, what that exports; without, what the Worker serves. */
export interface KernelName {
  /** Its URL. */
  readonly module: string | undefined;
  readonly exportName: string;
}

/**
 * The kernel of that name. Rejects with HmmError ENOENT, when there is no such module, or EINVAL.
 */
export async function findKernel(
  served: ServedKernels,
  { module, exportName }: KernelName,
): Promise<Kernel> {
  if (module !== undefined)
    return kernelIn(await importModule(module), exportName, module, "export");
  return kernelIn(served, exportName, "the device's Worker", "serve");
}

/** How long an import may take: a module may await what never settles, and no host reports that. */
const IMPORT_MS = 60_000;

/** The exports of the module at `url`. Rejects as {@link findKernel}. */
export async function importModule(
  url: string,
  limitMs: number = IMPORT_MS,
): Promise<Readonly<Record<string, unknown>>> {
  let exports: unknown;
  try {
    // A bundler cannot know the module, and leaves the import as it is.
    const loading = import(/* webpackIgnore: true */ /* @vite-ignore */ url) as Promise<unknown>;
    exports = await within(loading, url, limitMs);
  } catch (error) {
    throw error instanceof HmmError ? error : importFailure(url, error);
  }
  if (typeof exports === "object" && exports !== null)
    return exports as Readonly<Record<string, unknown>>;
  throw new HmmError(
    EINVAL,
    "dispatch",
    `Cannot use the kernel's module ${url}: its export \`then\` makes the import another value; give it another name`,
  );
}

/** Settles as `loading`, or rejects with HmmError EINVAL after `limitMs`. */
async function within(loading: Promise<unknown>, url: string, limitMs: number): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const state = `its import did not come back in ${limitMs / 1000} s`;
      const text = `Cannot load the kernel's module ${url}: ${state}; let it await nothing that never settles`;
      reject(new HmmError(EINVAL, "dispatch", text));
    }, limitMs);
  });
  try {
    return await Promise.race([loading, late]);
  } finally {
    clearTimeout(timer);
  }
}

function kernelIn(
  offered: Readonly<Record<string, unknown>>,
  name: string,
  who: string,
  verb: "export" | "serve",
): Kernel {
  const kernel = Object.hasOwn(offered, name) ? offered[name] : undefined;
  if (typeof kernel === "function") return kernel as Kernel;
  const state =
    kernel === undefined
      ? `${verb}s nothing of that name`
      : `${verb}s ${formatValue(kernel)} under that name, and no function`;
  const text = `Cannot run the kernel "${name}": ${who} ${state}; ${offerText(offered, verb)}`;
  throw new HmmError(EINVAL, "dispatch", text);
}

function offerText(offered: Readonly<Record<string, unknown>>, verb: "export" | "serve"): string {
  const names = Object.keys(offered).filter((name) => typeof offered[name] === "function");
  if (names.length === 0) {
    return verb === "export"
      ? "it exports no function; export the kernel"
      : "it serves no function; call serveDevice({ kernels }) with it";
  }
  const listed = names.slice(0, NAMES_MAX).join(", ");
  const more = names.length > NAMES_MAX ? ", and others" : "";
  return `check the name; it ${verb}s the functions ${listed}${more}`;
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
