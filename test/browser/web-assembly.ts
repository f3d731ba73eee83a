/**
 * @module What the scenario pages use of WebAssembly, which the compiler's libraries here do not
 * declare.
 */

/** A shared WebAssembly.Memory. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages64KiB: number): number;
}

interface WasmApi {
  readonly Memory: new (options: {
    initial: number;
    maximum: number;
    shared: boolean;
  }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: { readonly host: { readonly memory: WasmMemory } },
  ) => { readonly exports: { readonly swap: (address: number, value: number) => number } };
}

const host: unknown = globalThis;
const { WebAssembly } = host as { readonly WebAssembly: WasmApi };

/** Whether this page may compile WebAssembly: its Content-Security-Policy says so. */
export function mayCompile(): boolean {
  try {
    const module = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    return typeof module === "object";
  } catch {
    return false;
  }
}

/** Counted in 64 KiB, as WebAssembly does. */
export function makeWasmMemory(pages64KiB: number, maxPages64KiB: number): WasmMemory {
  return new WebAssembly.Memory({ initial: pages64KiB, maximum: maxPages64KiB, shared: true });
}

/**
 * The module
 *
 *     (module (import "host" "memory" (memory 1 65535 shared))
 *       (func (export "swap") (param $address i32) (param $value i32) (result i32)
 *         (i32.atomic.rmw.xchg (local.get $address) (local.get $value))))
 */
const SWAP_MODULE = [
  "0061736d01000000",
  "0107016002 7f7f 017f",
  "0213 01 04686f7374 066d656d6f7279 02 03 01 ffff03",
  "03020100",
  "0708 01 0473776170 0000",
  "0a0c 01 0a00 2000 2001 fe4102 00 0b",
].join("");

function bytesOf(hexadecimal: string): Uint8Array {
  const digits = hexadecimal.replaceAll(" ", "");
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

/**
 * Compiled code that works on the memory by its own pointers: stores `value` at `address` and
 * returns what was there.
 */
export function instantiateSwap(memory: WasmMemory): (address: number, value: number) => number {
  return new WebAssembly.Instance(new WebAssembly.Module(bytesOf(SWAP_MODULE)), {
    host: { memory },
  }).exports.swap;
}
