/**
 * @module Where the stack of an error begins: at the line of the program that called the library,
 * not at the line of the library that made the error. V8 keeps ten lines of a stack, and of an
 * operation ten lines of runners and tasks are nothing special.
 *
 *   - {@link beginStacksAtCalls} wraps the public methods of a class. Such a wrapper, while it
 *     runs, is the edge: an error that is made meanwhile has the stack of the edge's caller. What
 *     a method calls back (a section, a source) may call public methods again; the innermost edge
 *     counts.
 *   - A promise that is rejected later has no caller on the stack any more. Then the stack is that
 *     of the functions that await it, which V8 finds when it is asked. So nothing is recorded for
 *     calls that do not fail: a stack at each call would cost more than the operation.
 *   - Single loads and stores have no wrapper: {@link accessFrom} notes the object whose method is
 *     running, on paths that are slow anyway. It is the edge of the next error.
 *
 * Hosts without `Error.captureStackTrace` keep the stacks that they make. No state is shared with
 * other threads.
 */

type Method = (this: unknown, ...args: unknown[]) => unknown;

type Capture = (error: Error, edge: unknown) => void;

const capture: Capture | undefined = (Error as { captureStackTrace?: Capture }).captureStackTrace;

let edge: Method | undefined;
let accessor: object | undefined;

/** The methods of an accessor, the likeliest first. */
const ACCESSES = [
  "load",
  "store",
  "loadInto",
  "atomicLoad",
  "atomicStore",
  "atomicAdd",
  "atomicSub",
  "atomicAnd",
  "atomicOr",
  "atomicXor",
  "atomicExchange",
  "atomicCompareExchange",
] as const;

/** By accessor: another one that makes its own accesses by this one. */
const wholes = new WeakMap<object, object>();

/** Errors whose stack begins at the call already. */
const placed = new WeakSet<Error>();

/**
 * A method of `one` is running: if an error is made before `accessDone`, its stack begins at that
 * method's caller.
 */
export function accessFrom(one: object): void {
  accessor = one;
}

/** `part` does what `whole` was called for: its accesses may be those of the whole. */
export function accessPartOf(whole: object, part: object): void {
  wholes.set(part, whole);
}

/** The access made no error. */
export function accessDone(): void {
  accessor = undefined;
}

/** Lets the stack of a new error begin at the call, as far as it is known. */
export function beginAtCall(error: Error): void {
  const from = accessor;
  accessor = undefined;
  if (capture === undefined || Error.stackTraceLimit === 0) return;
  const whole = from === undefined ? undefined : wholes.get(from);
  if (whole !== undefined && beginAtAccess(error, whole)) placed.add(error);
  else if (from !== undefined && beginAtAccess(error, from)) placed.add(error);
  else if (edge !== undefined) {
    capture(error, edge);
    placed.add(error);
  } else if (from !== undefined) capture(error, beginAtCall);
}

/** A capture from a function that is not on the stack has no line. */
function beginAtAccess(error: Error, from: object): boolean {
  const methods = from as Partial<Record<string, Method>>;
  for (const name of ACCESSES) {
    const method = methods[name];
    if (method === undefined) continue;
    capture?.(error, method);
    if (hasLines(error)) return true;
  }
  return false;
}

function hasLines({ stack = "" }: Pick<Error, "stack">): boolean {
  return /\n\s+at /.test(stack);
}

/** Runs `step`, which is no part of the call that the program has made. */
export function apartFromCall(step: () => void): void {
  const before = edge;
  edge = undefined;
  try {
    step();
  } finally {
    edge = before;
  }
}

/** Lines that come before the call's, of what the call was made for. */
const linesBefore = new WeakMap<Error, readonly string[]>();

/** Has `lines` stand before the line of the call, once that is known. */
export function beginWithLines(error: Error, lines: readonly string[]): void {
  if (lines.length > 0) linesBefore.set(error, lines);
}

/** Of a promise that was rejected: the stack of who awaits it. Throws `error`. */
function rejectAtAwait(error: unknown): never {
  if (capture === undefined || !(error instanceof Error) || placed.has(error)) throw error;
  if (!("syscall" in error)) throw error;
  const before = error.stack;
  capture(error, rejectAtAwait);
  // The host's own lines may come first: those of the timer in which the promise was settled.
  const stack = error.stack?.replace(/(\n\s+at [^\n]*\(node:internal[^\n]*)+/, "") ?? "";
  const placedStack = hasLines({ stack }) ? stack : (before ?? stack);
  const first = linesBefore.get(error);
  error.stack =
    first === undefined
      ? placedStack
      : placedStack.replace(/(?=\n\s+at )/, () => `\n${first.join("\n")}`);
  placed.add(error);
  throw error;
}

/** `inner`, as the program calls it. Errors that it makes begin at its caller. */
function calledByProgram(inner: Method): Method {
  const outer: Method = function call(...args) {
    const before = edge;
    edge = outer;
    try {
      const result = inner.apply(this, args);
      return result instanceof Promise ? result.catch(rejectAtAwait) : result;
    } finally {
      edge = before;
    }
  };
  for (const name of ["name", "length"] as const)
    Object.defineProperty(outer, name, { value: inner[name], configurable: true });
  return outer;
}

/** Not wrapped: what ends an object answers with the same promise each time. */
const UNWRAPPED: ReadonlySet<string | symbol> = new Set([
  "constructor",
  "dispose",
  Symbol.asyncDispose,
]);

/**
 * Wraps every method of a class, static ones and getters too, so that stacks begin at their
 * callers. Not those that are named in `internal`: the library itself calls them. Once, in the
 * class.
 */
export function beginStacksAtCalls(
  type: { readonly prototype: object },
  internal: readonly string[] = [],
): void {
  for (const owner of [type, type.prototype]) {
    for (const key of Reflect.ownKeys(owner)) {
      const property = Reflect.getOwnPropertyDescriptor(owner, key);
      if (property === undefined || UNWRAPPED.has(key) || internal.includes(String(key))) continue;
      const { value, get } = property as { value?: unknown; get?: () => unknown };
      if (typeof value === "function")
        Object.defineProperty(owner, key, { ...property, value: calledByProgram(value as Method) });
      else if (get !== undefined)
        Object.defineProperty(owner, key, { ...property, get: calledByProgram(get) });
    }
  }
}
