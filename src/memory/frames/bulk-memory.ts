/**
 * @module memory/frames/bulk-memory
 * Buffers for frames, and how whole pages of them are copied and cleared.
 *
 * Engines copy between typed arrays over shared memory word by word, so that no word is torn, and
 * fill them one element after the other: 25 and 4 GB/s of what is in the processor's caches (V8
 * 11.3 to 13.6). The instructions `memory.copy` and `memory.fill` of WebAssembly are the C
 * library's memmove and memset: 100 GB/s, and for pages that are in no cache 240 ns in place of
 * 370. So a buffer of frames is that of a shared WebAssembly.Memory, where the host makes one and
 * passes it on to other threads; else it is a SharedArrayBuffer, and everything works as well.
 *
 * Each thread has instances of its own, of a module of a hundred bytes: for each memory one, and
 * one for each two between which pages are copied. The latter needs modules of two memories, which
 * engines have since 2023 (Node 22).
 */

/** A WebAssembly.Memory that was made with `shared: true`: the declarations of hosts differ. */
export interface SharedWasmMemory {
  readonly buffer: SharedArrayBuffer;
}

/** Memory for frames: `buffer` is that of `memory`, if there is one. */
export interface FrameBuffer {
  readonly buffer: SharedArrayBuffer;
  readonly memory: SharedWasmMemory | undefined;
}

/** What this module needs of a host's `WebAssembly`. */
interface WasmHost {
  readonly Memory: new (limits: object) => SharedWasmMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
}

/** Offsets and lengths in bytes. */
interface BulkFunctions {
  copy(to: number, from: number, lengthBytes: number): void;
  fill(at: number, value: number, lengthBytes: number): void;
}

const WASM_PAGE_BYTES = 65_536;
/** Less is not worth the 10 GiB of addresses that the host keeps free behind each memory. */
const WASM_PAGES_MIN = 16;
/** Of a memory that has addresses of 32 bits. */
const WASM_PAGES_MAX = 65_536;
/**
 * Memories that this thread makes and that are in use at a time: 320 GiB of addresses. A page of
 * Chromium has 1 TiB for all memories of WebAssembly, the program's own among them.
 */
const MEMORIES_MAX = 32;

const memoriesMade: WeakRef<SharedWasmMemory>[] = [];

function mayMakeOneMore(): boolean {
  const inUse = memoriesMade.filter((memory) => memory.deref() !== undefined);
  memoriesMade.splice(0, Infinity, ...inUse);
  return inUse.length < MEMORIES_MAX;
}

function wasmHost(): WasmHost | undefined {
  return (globalThis as { readonly WebAssembly?: WasmHost }).WebAssembly;
}

/**
 * A new buffer for frames, or undefined when the host has no more memory or no address space. Less
 * than 1 MiB, and other lengths than multiples of 64 KiB, are plain buffers.
 */
export function makeFrameBuffer(lengthBytes: number): FrameBuffer | undefined {
  const memory = makeMemory(lengthBytes);
  if (memory !== undefined) return { buffer: memory.buffer, memory };
  const buffer = makeBuffer(lengthBytes);
  return buffer === undefined ? undefined : { buffer, memory };
}

/** A new buffer of its own, or undefined when the host has no room. */
export function makeBuffer(lengthBytes: number): SharedArrayBuffer | undefined {
  try {
    return new SharedArrayBuffer(lengthBytes);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Undefined where there is no WebAssembly, no room, or no memory that may be passed on. */
function makeMemory(lengthBytes: number): SharedWasmMemory | undefined {
  const pages = lengthBytes / WASM_PAGE_BYTES;
  if (!Number.isInteger(pages) || pages < WASM_PAGES_MIN || pages > WASM_PAGES_MAX)
    return undefined;
  const wasm = wasmHost();
  if (wasm === undefined || moduleOf(1) === undefined || !mayMakeOneMore()) return undefined;
  try {
    const memory = new wasm.Memory({ initial: pages, maximum: pages, shared: true });
    if (!isMemoryOf(structuredClone(memory), memory.buffer)) return undefined;
    memoriesMade.push(new WeakRef(memory));
    return memory;
  } catch {
    return undefined;
  }
}

/** Whether `value` is a shared WebAssembly.Memory whose buffer `buffer` can be. */
export function isMemoryOf(value: unknown, buffer: SharedArrayBuffer): value is SharedWasmMemory {
  const wasm = wasmHost();
  if (wasm === undefined || !(value instanceof wasm.Memory)) return false;
  const own: ArrayBufferLike = value.buffer;
  return own instanceof SharedArrayBuffer && own.byteLength === buffer.byteLength;
}

/** Copies and clears bytes of one memory, for this thread. */
export class BulkMemory {
  readonly #memory: SharedWasmMemory;
  readonly #own: BulkFunctions;
  /** From other memories; no function where the host has no modules of two. */
  readonly #from = new WeakMap<BulkMemory, BulkFunctions>();

  private constructor(memory: SharedWasmMemory, own: BulkFunctions) {
    this.#memory = memory;
    this.#own = own;
  }

  /** The same for each call; undefined where this thread may not use WebAssembly. */
  static of(memory: SharedWasmMemory): BulkMemory | undefined {
    const known = bulkMemories.get(memory);
    if (known !== undefined) return known;
    const own = instanceOf([memory]);
    if (own === undefined) return undefined;
    const bulk = new BulkMemory(memory, own);
    bulkMemories.set(memory, bulk);
    return bulk;
  }

  /** Zeroes. Nobody else uses the bytes. */
  clear(at: number, lengthBytes: number): void {
    this.#own.fill(at, 0, lengthBytes);
  }

  /**
   * Copies bytes of `from`, which may be this one, to this one. Nobody stores to either meanwhile,
   * or the copy is thrown away. False: the host cannot.
   */
  copy(to: number, from: BulkMemory, fromAt: number, lengthBytes: number): boolean {
    const functions = from === this ? this.#own : (this.#from.get(from) ?? this.#reach(from));
    functions?.copy(to, fromAt, lengthBytes);
    return functions !== undefined;
  }

  #reach(from: BulkMemory): BulkFunctions | undefined {
    const functions = instanceOf([this.#memory, from.#memory]);
    if (functions !== undefined) this.#from.set(from, functions);
    return functions;
  }
}

const bulkMemories = new WeakMap<SharedWasmMemory, BulkMemory>();

/** That `copy`s from the last of `memories` to the first, and `fill`s the first. */
function instanceOf(memories: readonly SharedWasmMemory[]): BulkFunctions | undefined {
  const wasm = wasmHost();
  const module = moduleOf(memories.length);
  if (wasm === undefined || module === undefined) return undefined;
  const imports = Object.fromEntries(memories.map((memory, i) => [i, memory]));
  return new wasm.Instance(module, { m: imports }).exports as BulkFunctions;
}

/** By the number of their memories; null: this thread has none (no such engine, or a CSP). */
const modules: (object | null)[] = [];

function moduleOf(memories: number): object | undefined {
  let module = modules[memories];
  if (module === undefined) {
    module = compile(memories);
    modules[memories] = module;
  }
  return module ?? undefined;
}

function compile(memories: number): object | null {
  const wasm = wasmHost();
  try {
    return wasm === undefined ? null : new wasm.Module(bytesOf(memories));
  } catch {
    return null;
  }
}

/**
 * The module, in the text format, for two memories; for one it is the same with 0 in place of 1:
 *
 *     (module
 *       (import "m" "0" (memory 0 65536 shared))
 *       (import "m" "1" (memory 0 65536 shared))
 *       (func (export "copy") (param i32 i32 i32)
 *         local.get 0  local.get 1  local.get 2  memory.copy 0 1)
 *       (func (export "fill") (param i32 i32 i32)
 *         local.get 0  local.get 1  local.get 2  memory.fill 0))
 */
function bytesOf(memories: number): Uint8Array {
  const names = Array.from({ length: memories }, (_, i) => String(i));
  const operands = [0x20, 0, 0x20, 1, 0x20, 2];
  const copy = [0, ...operands, 0xfc, 10, 0, memories - 1, 0x0b];
  const fill = [0, ...operands, 0xfc, 11, 0, 0x0b];
  return Uint8Array.from([
    ...HEADER,
    ...section(1, [[0x60, 3, 0x7f, 0x7f, 0x7f, 0]]),
    ...section(
      2,
      names.map((name) => [...text("m"), ...text(name), 2, 3, 0, 0x80, 0x80, 4]),
    ),
    ...section(3, [[0], [0]]),
    ...section(7, [
      [...text("copy"), 0, 0],
      [...text("fill"), 0, 1],
    ]),
    ...section(10, [
      [copy.length, ...copy],
      [fill.length, ...fill],
    ]),
  ]);
}

/** "\0asm", version 1. */
const HEADER: readonly number[] = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

/** All lengths are below 128, one byte each. */
function section(id: number, entries: readonly (readonly number[])[]): number[] {
  const bytes = [entries.length, ...entries.flat()];
  return [id, bytes.length, ...bytes];
}

function text(name: string): number[] {
  return [name.length, ...new TextEncoder().encode(name)];
}
