/** @module devices/software/kernel: what a user writes for the software device. */

import type { TypedAccess } from "../../driver-interface.ts";

/**
 * A kernel. To all that can be seen in `memory`, it runs once for each work item, in any order, on
 * any device thread. `memory` is the address space through the device's page table. In fact an item
 * may be given up and begun again until its first store or read-modify-write. So what a kernel
 * keeps outside of `memory` (variables of its module) must not count runs, nor carry anything from
 * one item to the next.
 *
 * Loads may be answered by a read copy in device memory. Stores and all atomics, `atomicLoad`
 * included, are made in RAM itself, over a writable translation, so they want the right to write.
 * Atomics are sequentially consistent with those of all CPU threads and devices; plain loads and
 * stores are as a typed array's on a SharedArrayBuffer.
 *
 * It is done when it returns: an async function or a generator is refused (KernelFailure), and so
 * is a function that returns a promise or an iterator, which TypeScript lets pass here.
 */
export type Kernel = (memory: TypedAccess, item: number, args: readonly number[]) => void;
