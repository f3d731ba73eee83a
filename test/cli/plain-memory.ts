/**
 * A kernel's memory over plain buffers that begin at given addresses: no pages, no faults, bounds
 * checked.
 */

import type { KernelMemory } from "../../command/src/geocode/nearest-kernel.ts";

export interface PlainRegion {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/**
 * Loads and stores into whichever region holds the address; throws where none does or the address
 * is unaligned.
 */
export function plainMemory(regions: readonly PlainRegion[]): KernelMemory {
  const find = (address: number, width: number): { view: DataView; offset: number } => {
    if (address % width !== 0) throw new Error(`unaligned access to ${address}`);
    for (const { address: start, bytes } of regions) {
      if (address >= start && address + width <= start + bytes.byteLength) {
        return { view: new DataView(bytes.buffer, bytes.byteOffset), offset: address - start };
      }
    }
    throw new Error(`nothing is mapped at ${address}`);
  };
  const loadU32 = (address: number): number => {
    const { view, offset } = find(address, 4);
    return view.getUint32(offset, true);
  };
  const storeU32 = (address: number, value: number): void => {
    const { view, offset } = find(address, 4);
    view.setUint32(offset, value, true);
  };
  const loadF64 = (address: number): number => {
    const { view, offset } = find(address, 8);
    return view.getFloat64(offset, true);
  };
  return {
    i32: { load: (address) => loadU32(address) | 0 },
    f64: {
      load: loadF64,
      loadInto: (address, target, targetOffset, count) => {
        for (let i = 0; i < count; i++) target[targetOffset + i] = loadF64(address + 8 * i);
      },
      store: (address, value) => {
        const { view, offset } = find(address, 8);
        view.setFloat64(offset, value, true);
      },
    },
    ptr: {
      store: (address, value) => {
        const { view, offset } = find(address, 8);
        view.setBigUint64(offset, BigInt(value), true);
      },
    },
    u32: {
      store: storeU32,
      atomicLoad: loadU32,
      atomicStore: storeU32,
      atomicAdd: (address, value) => {
        const old = loadU32(address);
        storeU32(address, old + value);
        return old;
      },
    },
  };
}
