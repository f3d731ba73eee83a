/**
 * @module The only module of the project that touches the native `Atomics`.
 *
 * V8 inlines these small functions into their callers. All other code, the rest of `sync/`
 * included, goes through them. So one place decides what an atomic access or a futex wait is. All
 * of them are sequentially consistent, as `Atomics` is. Where an array may have elements of 64
 * bits, a cast says otherwise: `Atomics` takes values of the array's own kind. Not here: the
 * meaning of a word (the primitives know it), and the policy of a wait, such as slices and panic
 * checks (the runners know it).
 *
 * Measured on Node 20 (x64): load 5 ns, store/add/compareExchange 9 ns, a plain typed-array access
 * 0.5 ns. A {@link futexWake} without a waiter takes about 70 ns: this is why the primitives keep a
 * mark that somebody waits.
 */

/** Typed arrays on which an atomic read-modify-write is defined. */
export type AtomicArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

/** The same for elements of 64 bits, whose values are bigints. */
export type WideArray = BigInt64Array | BigUint64Array;

/** What a futex wait came back with. `"not-equal"`: the word had changed before the wait began. */
export type FutexResult = "ok" | "not-equal" | "timed-out";

/**
 * A plain (non-atomic) read of one word. The caller names the lock that makes it race-free, or why
 * a stale value is harmless. `index` must lie inside `words`.
 */
export function plainLoad(words: Int32Array, index: number): number {
  return words[index] as number; // in bounds by contract
}

/**
 * A plain read of one word that may have been freed and reused since its index was read. The caller
 * checks a generation afterwards and discards the value if it has changed. `index` must lie inside
 * `words`.
 */
export function speculativeLoad(words: Int32Array, index: number): number {
  return words[index] as number; // in bounds by contract
}

/** The word at `index`, sequentially consistent. */
export function atomicLoad(array: AtomicArray, index: number): number;
export function atomicLoad(array: WideArray, index: number): bigint;
export function atomicLoad(array: AtomicArray | WideArray, index: number): number | bigint {
  return Atomics.load(array as AtomicArray, index);
}

/**
 * The atomic form of {@link speculativeLoad}: the data may have been freed, and the caller checks
 * that afterwards.
 */
export function speculativeAtomicLoad(array: AtomicArray, index: number): number;
export function speculativeAtomicLoad(array: WideArray, index: number): bigint;
export function speculativeAtomicLoad(
  array: AtomicArray | WideArray,
  index: number,
): number | bigint {
  return Atomics.load(array as AtomicArray, index);
}

/** Stores a word at `index`, sequentially consistent. */
export function atomicStore(array: AtomicArray, index: number, value: number): void;
export function atomicStore(array: WideArray, index: number, value: bigint): void;
export function atomicStore(
  array: AtomicArray | WideArray,
  index: number,
  value: number | bigint,
): void {
  Atomics.store(array as AtomicArray, index, value as number);
}

/** Adds and returns the value from before. */
export function atomicAdd(array: AtomicArray, index: number, value: number): number;
export function atomicAdd(array: WideArray, index: number, value: bigint): bigint;
export function atomicAdd(
  array: AtomicArray | WideArray,
  index: number,
  value: number | bigint,
): number | bigint {
  return Atomics.add(array as AtomicArray, index, value as number);
}

/** Subtracts and returns the value from before. */
export function atomicSub(array: AtomicArray, index: number, value: number): number;
export function atomicSub(array: WideArray, index: number, value: bigint): bigint;
export function atomicSub(
  array: AtomicArray | WideArray,
  index: number,
  value: number | bigint,
): number | bigint {
  return Atomics.sub(array as AtomicArray, index, value as number);
}

/** Ands and returns the value from before. */
export function atomicAnd(array: AtomicArray, index: number, value: number): number;
export function atomicAnd(array: WideArray, index: number, value: bigint): bigint;
export function atomicAnd(
  array: AtomicArray | WideArray,
  index: number,
  value: number | bigint,
): number | bigint {
  return Atomics.and(array as AtomicArray, index, value as number);
}

/** Ors and returns the value from before. */
export function atomicOr(array: AtomicArray, index: number, value: number): number;
export function atomicOr(array: WideArray, index: number, value: bigint): bigint;
export function atomicOr(
  array: AtomicArray | WideArray,
  index: number,
  value: number | bigint,
): number | bigint {
  return Atomics.or(array as AtomicArray, index, value as number);
}

/** Xors and returns the value from before. */
export function atomicXor(array: AtomicArray, index: number, value: number): number;
export function atomicXor(array: WideArray, index: number, value: bigint): bigint;
export function atomicXor(
  array: AtomicArray | WideArray,
  index: number,
  value: number | bigint,
): number | bigint {
  return Atomics.xor(array as AtomicArray, index, value as number);
}

/** Stores and returns the value from before. */
export function atomicExchange(array: AtomicArray, index: number, value: number): number;
export function atomicExchange(array: WideArray, index: number, value: bigint): bigint;
export function atomicExchange(
  array: AtomicArray | WideArray,
  index: number,
  value: number | bigint,
): number | bigint {
  return Atomics.exchange(array as AtomicArray, index, value as number);
}

/**
 * Stores `replacement` if the element is `expected`; returns the value from before, so success is
 * `=== expected`.
 */
export function atomicCompareExchange(
  array: AtomicArray,
  index: number,
  expected: number,
  replacement: number,
): number;
export function atomicCompareExchange(
  array: WideArray,
  index: number,
  expected: bigint,
  replacement: bigint,
): bigint;
export function atomicCompareExchange(
  array: AtomicArray | WideArray,
  index: number,
  expected: number | bigint,
  replacement: number | bigint,
): number | bigint {
  return Atomics.compareExchange(
    array as AtomicArray,
    index,
    expected as number,
    replacement as number,
  );
}

/**
 * Exchanges, and stores what was there at `notes[note]`, shifted left and with `bits`. No thread
 * dies in between: engines stop a terminated thread only at function entries and loop ends (H1 of
 * lockdep/held-locks.ts), and there is neither. So are the others below.
 */
export function exchangeNoted(
  words: Int32Array,
  index: number,
  value: number,
  notes: Int32Array,
  note: number,
  shift: number,
  bits: number,
): number {
  const before = Atomics.exchange(words, index, value);
  notes[note] = (before << shift) | bits;
  return before;
}

/**
 * Stores `replacement` if the word is `expected`, and then `noted` at `notes[note]`. Returns the
 * value from before.
 */
export function compareExchangeNoted(
  words: Int32Array,
  index: number,
  expected: number,
  replacement: number,
  notes: Int32Array,
  note: number,
  noted: number,
): number {
  const before = Atomics.compareExchange(words, index, expected, replacement);
  if (before === expected) notes[note] = noted;
  return before;
}

/** Adds `by`, and stores `noted` at `notes[note]`. Returns the value from before. */
export function incrementNoted(
  words: Int32Array,
  index: number,
  notes: Int32Array,
  note: number,
  noted: number,
  by: number = 1,
): number {
  const before = Atomics.add(words, index, by);
  notes[note] = noted;
  return before;
}

/**
 * Subtracts `times`, and stores `last` at `notes[note]` if 0 is left, else 0. Returns the value
 * from before.
 */
export function decrementNoted(
  words: Int32Array,
  index: number,
  notes: Int32Array,
  note: number,
  last: number,
  times: number = 1,
): number {
  const before = Atomics.sub(words, index, times);
  notes[note] = before === times ? last : 0;
  return before;
}

/**
 * Stores two words in a row by plain stores, and counts that at `notes[note]`, unless `note` is 0.
 * Nobody else may access the words.
 */
export function storePairNoted(
  words: Int32Array,
  index: number,
  first: number,
  second: number,
  notes: Int32Array,
  note: number,
): void {
  words[index + 1] = second;
  words[index] = first;
  if (note !== 0) notes[note] = (notes[note] as number) + 1; // in bounds by contract
}

/** Stores a word, and `noted` at `notes[note]`. */
export function storeNoted(
  words: Int32Array,
  index: number,
  value: number,
  notes: Int32Array,
  note: number,
  noted: number = 0,
): void {
  Atomics.store(words, index, value);
  notes[note] = noted;
}

/**
 * Sleeps while `words[index] === expected`. Throws TypeError where the host forbids blocking: see
 * {@link mayBlock}.
 */
export function futexWait(
  words: Int32Array,
  index: number,
  expected: number,
  timeoutMs: number,
): FutexResult {
  return Atomics.wait(words, index, expected, timeoutMs);
}

/** Of {@link pauseThread}: nobody wakes on it. Made late: not every page has such a buffer. */
let nobodys: Int32Array | undefined;

/**
 * Stops this thread for so long, its event loop included. No wait of a task: nobody wakes it.
 * Only where the host lets a thread block.
 */
export function pauseThread(pauseMs: number): void {
  nobodys ??= new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(nobodys, 0, 0, pauseMs);
}

/** Wakes at most `count` sleepers on the word (blocking and async alike); returns how many. */
export function futexWake(words: Int32Array, index: number, count: number): number {
  return Atomics.notify(words, index, count);
}

/**
 * As {@link futexWake}, for a word on which all waiters are asynchronous ones
 * ({@link futexWaitAsync}).
 */
export function wakeAsyncWaiters(words: Int32Array, index: number, count: number): number {
  return Atomics.notify(words, index, count);
}

/** A started async wait: its result, or a promise of it. */
export type FutexAsync =
  | { async: false; value: "not-equal" | "timed-out" }
  | { async: true; value: Promise<"ok" | "timed-out"> };

/** Whether this host has `Atomics.waitAsync`. Without it, async waits poll. */
export const hasWaitAsync: boolean =
  typeof (Atomics as { waitAsync?: unknown }).waitAsync === "function";

/** Call only where {@link hasWaitAsync}. */
export function futexWaitAsync(
  words: Int32Array,
  index: number,
  expected: number,
  timeoutMs: number,
): FutexAsync {
  return Atomics.waitAsync(words, index, expected, timeoutMs);
}

let blockingAllowed: boolean | undefined;

/**
 * Whether this thread may block in {@link futexWait} (false on a browser page's main thread). Asked
 * once per thread.
 */
export function mayBlock(): boolean {
  if (blockingAllowed === undefined) {
    try {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
      blockingAllowed = true;
    } catch {
      blockingAllowed = false;
    }
  }
  return blockingAllowed;
}
