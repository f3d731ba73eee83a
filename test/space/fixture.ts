/**
 * @module What the tests of address spaces share: small machines, both forms of every operation,
 * errors by code, and the accounting.
 */

import assert from "node:assert/strict";
import {
  AddressSpace,
  type AddressSpaceOptions,
  HmmError,
  SegmentationFault,
} from "../../src/index.ts";
import { inside } from "../inside.ts";

export const KIB = 1024;
export const MIB: number = 2 ** 20;
export const PAGE = 4096;

/** An address far from where mappings are placed by themselves. */
export const FAR: number = 2 ** 40;

/** A small machine that checks every lock and pointer. */
export function makeSpace(options: AddressSpaceOptions = {}): AddressSpace {
  return AddressSpace.createSync({
    ramBytes: 4 * MIB,
    heapBytes: 8 * MIB,
    debug: true,
    ...options,
  });
}

/** Runs `body` on a fresh space and disposes of it. */
export async function withSpace(
  body: (space: AddressSpace) => Promise<void> | void,
  options: AddressSpaceOptions = {},
): Promise<void> {
  const space = makeSpace(options);
  try {
    await body(space);
  } finally {
    await space.dispose();
  }
}

export type Form = "promise" | "sync";
export const FORMS: readonly Form[] = ["promise", "sync"];

export type OperationName =
  | "mmap"
  | "munmap"
  | "mprotect"
  | "mremap"
  | "madvise"
  | "fork"
  | "read"
  | "write"
  | "view"
  | "maps"
  | "pagemap"
  | "stats"
  | "dispose";

type Call = (...args: unknown[]) => unknown;

/**
 * Calls an operation in one of its forms, with arguments that need not be of the right types. What
 * it throws, or rejects with, is thrown.
 */
export async function call(
  space: AddressSpace,
  form: Form,
  name: OperationName,
  ...args: unknown[]
): Promise<unknown> {
  const operations: object = space;
  const operation = (operations as Record<string, Call | undefined>)[
    form === "sync" ? `${name}Sync` : name
  ];
  assert.ok(operation !== undefined, `${name} has its ${form} form`);
  const result = operation.apply(space, args);
  if (form === "promise")
    assert.ok(result instanceof Promise, `${name} returns a promise, whatever happens`);
  return await result;
}

/** What `body` throws or rejects with; undefined when all goes well. */
export async function thrownBy(body: () => unknown): Promise<unknown> {
  try {
    await body();
    return undefined;
  } catch (error) {
    return error;
  }
}

/**
 * The signal that Linux would send for the access that `body` makes; undefined when it may be made.
 */
export function signalOf(body: () => unknown): SegmentationFault["signal"] | undefined {
  try {
    body();
    return undefined;
  } catch (error) {
    if (error instanceof SegmentationFault) return error.signal;
    throw error;
  }
}

/** What went wrong with `code`; fails when nothing did, or something else. */
export async function failsWith(code: string, body: () => unknown): Promise<HmmError> {
  const error = await thrownBy(body);
  assert.notEqual(error, undefined, `nothing failed; expected ${code}`);
  assert.ok(error instanceof HmmError, `${String((error as Error).stack ?? error)} is no HmmError`);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, /^Cannot [^:]+: .+/);
  return error;
}

export interface Accounting {
  readonly usedPages: number;
  readonly live: Readonly<Record<string, number>>;
}

/** What is allocated on the space's machine: to compare before and after. */
export function accountingOf(space: AddressSpace): Accounting {
  const { heap, ram } = inside(space).machine;
  const live = Object.fromEntries(heap.accounting().map((account) => [account.name, account.live]));
  return { usedPages: ram.usage().usedPages, live };
}

/** The mappings as short lines: "10000-12000 rw private". */
export function mapLines(space: AddressSpace): string[] {
  const letters = { none: "--", read: "r-", "read-write": "rw" };
  return space.mapsSync().map(({ start, end, protection, shared, source }) => {
    const kind = source === "buffer" ? "buffer" : shared ? "shared" : "private";
    return `${start.toString(16)}-${end.toString(16)} ${letters[protection]} ${kind}`;
  });
}

/** Fills [address, address + lengthBytes) with a number in each page's first word. */
export function stampPages(
  space: AddressSpace,
  address: number,
  pages: number,
  seed: number,
): void {
  for (let i = 0; i < pages; i++) space.u32.store(address + i * PAGE, seed + i);
}

/** The first words of the pages. */
export function readStamps(space: AddressSpace, address: number, pages: number): number[] {
  return Array.from({ length: pages }, (_, i) => space.u32.load(address + i * PAGE));
}

/** A shared WebAssembly.Memory; the type is not in the compiler's libraries here. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}

/** `pages` counts 64 KiB. */
export function makeWasmMemory(pages: number, maxPages: number): WasmMemory {
  const host: object = globalThis;
  const { WebAssembly } = host as {
    WebAssembly: {
      Memory: new (options: { initial: number; maximum: number; shared: boolean }) => WasmMemory;
    };
  };
  return new WebAssembly.Memory({ initial: pages, maximum: maxPages, shared: true });
}
