/**
 * @module memory/machine
 * One machine: the kernel heap and the RAM, as one thread sees them. Everything above (address
 * spaces, mirrors, devices) lives in these two. `create` makes a machine; `attach` opens another
 * thread's machine from a handle that came by message. Both register the thread, and `detach`
 * unregisters it.
 */

import { registerAgent, unregisterAgent } from "../sync/runners/agents.ts";
import { EINVAL, ENOMEM } from "../sync/errno.ts";
import { HmmError, bug } from "../sync/errors.ts";
import { runBlocking } from "../sync/runners/run-blocking.ts";
import { hasPanicked } from "../sync/death/panic.ts";
import { shareMemory } from "../sync/primitives/shootdown.ts";
import { SharedMemory } from "../sync/shared-memory.ts";
import { Heap } from "./heap/heap.ts";
import { HeapPages, heapBytesFor } from "./heap/heap-pages.ts";
import { type RamSectionHandle, readSectionHandle } from "./frames/ram-section.ts";
import { PAGE_BYTES, Ram } from "./ram.ts";
import { PFN_LIMIT } from "./frames/section-records.ts";

/** The thread's name in error messages, and the host's id of it. */
export interface ThreadOptions {
  readonly name?: string;
  readonly hostThreadId?: number;
}

export interface MachineOptions extends ThreadOptions {
  /**
   * RAM in bytes, a multiple of 4096 up to 63 GiB. Reserved at once, committed by the host when
   * touched.
   */
  readonly ramBytes: number;
  /** Most bytes that the kernel heap may grow to, up to 4 GiB. */
  readonly heapBytes: number;
  /** Check every lock and every pointer. */
  readonly debug: boolean;
}

/**
 * What another thread needs to attach. Structured-cloneable: it goes into `workerData` or a
 * message.
 */
export interface MachineHandle {
  readonly kind: "hmm-ts/machine";
  readonly heap: SharedArrayBuffer;
  readonly sections: readonly RamSectionHandle[];
}

const KIND = "hmm-ts/machine";
/** Room for the machine's own structs, and for a few objects more. */
const HEAP_PAGES_MIN = 32;
/** Smallest `heapBytes` with which a machine can be made. */
export const HEAP_BYTES_MIN: number = heapBytesFor(HEAP_PAGES_MIN);
const HEAP_BYTES_MAX: number = 2 ** 32;
/** Leaves frame numbers for the page of zeros and for users' buffers. */
const RAM_BYTES_MAX: number = (PFN_LIMIT - 2 ** 18) * PAGE_BYTES;

/** A handle as another thread has sent it, copied; undefined for what has not its shape. */
export function readMachineHandle(value: unknown): MachineHandle | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { kind, heap, sections } = value as Partial<MachineHandle>;
  if (kind !== KIND || !(heap instanceof SharedArrayBuffer) || !Array.isArray(sections))
    return undefined;
  const read = Array.from(sections, readSectionHandle).filter((one) => one !== undefined);
  return read.length === sections.length ? { kind, heap, sections: read } : undefined;
}

const machineByMemory = new WeakMap<SharedMemory, Machine>();

/**
 * A machine: kernel heap, RAM, threads. A device driver gets it from the address space, or from a
 * harness.
 */
export class Machine {
  /** The kernel heap, in words. */
  readonly memory: SharedMemory;
  /** The allocator of the kernel heap. */
  readonly heap: Heap;
  /** The frames that pages live in. */
  readonly ram: Ram;

  private constructor(memory: SharedMemory, heap: Heap, ram: Ram) {
    this.memory = memory;
    this.heap = heap;
    this.ram = ram;
    machineByMemory.set(memory, this);
  }

  /**
   * This thread's machine on `memory`. For release functions (sync/lockdep/resources.ts), whose
   * only argument is the memory.
   */
  static of(memory: SharedMemory): Machine {
    return (
      machineByMemory.get(memory) ??
      bug("Cannot find the machine: this thread has not attached to it; attach first")
    );
  }

  /**
   * A new machine with this thread on it. Throws HmmError EINVAL for sizes out of range, ENOMEM
   * when the host cannot provide them.
   */
  static create(options: MachineOptions): Machine {
    checkSizes(options);
    const heapBytes = Math.floor(options.heapBytes / PAGE_BYTES) * PAGE_BYTES;
    const memory = makeHeapMemory(heapBytes, options.debug);
    HeapPages.format(memory);
    registerThread(memory, options);
    const heap = new Heap(memory);
    const ram = runBlocking(memory, Ram.create(heap, options.ramBytes / PAGE_BYTES), "create");
    if (typeof ram === "number") {
      unregisterAgent(memory);
      throw new HmmError(
        ram,
        "create",
        `Cannot make ${options.ramBytes} bytes of RAM: the host has no room; ask for less`,
      );
    }
    return new Machine(memory, heap, ram);
  }

  /**
   * Another thread's machine, with this thread on it. Throws HmmError EINVAL for anything but a
   * handle, EMFILE when there are too many threads.
   */
  static attach(handle: MachineHandle, options: ThreadOptions = {}): Machine {
    if (handle?.kind !== KIND) {
      throw new HmmError(
        EINVAL,
        "attach",
        "Cannot attach: not a handle of a machine; pass on the handle as it was given",
      );
    }
    const memory = SharedMemory.attach(handle.heap);
    registerThread(memory, options);
    // What a dead thread left is not for a thread that has no machine yet.
    memory.reaping = true;
    try {
      const heap = new Heap(memory);
      const ram = runBlocking(memory, Ram.attach(heap, handle.sections), "attach");
      return new Machine(memory, heap, ram);
    } catch (error) {
      if (!hasPanicked(memory)) unregisterAgent(memory);
      throw error;
    } finally {
      memory.reaping = false;
    }
  }

  /** For other threads. It contains the users' buffers that this thread knows when it is taken. */
  get handle(): MachineHandle {
    shareMemory(this.memory);
    return { kind: KIND, heap: this.memory.buffer, sections: this.ram.sections.handles };
  }

  /** This thread leaves. It must hold no lock and own nothing on the machine. */
  detach(): void {
    unregisterAgent(this.memory);
  }
}

function registerThread(memory: SharedMemory, { name, hostThreadId }: ThreadOptions): void {
  registerAgent(memory, { name: name ?? "thread", hostThreadId: hostThreadId ?? -1 });
}

function checkSizes({ ramBytes, heapBytes }: MachineOptions): void {
  if (
    !Number.isInteger(ramBytes) ||
    ramBytes <= 0 ||
    ramBytes > RAM_BYTES_MAX ||
    ramBytes % PAGE_BYTES !== 0
  ) {
    throw new HmmError(
      EINVAL,
      "create",
      `Cannot make ${ramBytes} bytes of RAM: must be a multiple of ${PAGE_BYTES} up to ${RAM_BYTES_MAX}`,
    );
  }
  if (!Number.isInteger(heapBytes) || heapBytes < HEAP_BYTES_MIN || heapBytes > HEAP_BYTES_MAX) {
    throw new HmmError(
      EINVAL,
      "create",
      `Cannot make a kernel heap of ${heapBytes} bytes: must be from ${HEAP_BYTES_MIN} to ${HEAP_BYTES_MAX}`,
    );
  }
}

function makeHeapMemory(heapBytes: number, debug: boolean): SharedMemory {
  try {
    return SharedMemory.create({
      initialBytes: HeapPages.initialBytes(heapBytes),
      maxBytes: heapBytes,
      debug,
    });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new HmmError(
      ENOMEM,
      "create",
      `Cannot reserve ${heapBytes} bytes for the kernel heap: the host has no room; ask for less`,
    );
  }
}
