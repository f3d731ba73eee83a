/**
 * @module A program that uses every entry of the package, in plain TypeScript of 2024: no `using`,
 * nothing that a compiler of then, or a library of ES2022, lacks. It is compiled, and not run.
 */

import {
  AddressSpace,
  HmmError,
  SegmentationFault,
  SoftwareDevice,
  type AddressSpaceHandle,
  type View,
} from "hmm-ts";
import { Places, explore, type Scenario } from "hmm-ts/checker";
import {
  DriverThread,
  registerMirrorOps,
  type HmmMirrorOps,
  type Mutex,
  type Task,
} from "hmm-ts/driver";
import { conformanceCases } from "hmm-ts/driver/conformance";
import { WebGpuDevice } from "hmm-ts/webgpu";
import { serveDevice, type TypedAccess } from "hmm-ts/worker";

export async function useSpace(handle: AddressSpaceHandle): Promise<number> {
  const space = await AddressSpace.attach(handle);
  const address: number = await space.mmap(8192, { protection: "read-write" });
  const big: bigint = space.u64.load(address + 8);
  const view: View = await space.view(address, 4096, "write");
  const floats: Float64Array = view.as(Float64Array);
  const bytes: Uint8Array = view.bytes;
  const shared: SharedArrayBuffer = view.bytes.buffer;
  floats[1] = bytes.length + shared.byteLength;
  await view.dispose();
  return Number(big);
}

export async function useDevice(space: AddressSpace): Promise<number> {
  const device = await SoftwareDevice.create(space, { memoryBytes: 4096 });
  try {
    const { faults } = await device.kernel({ exportName: "sum" }).dispatch(1, { args: [0] });
    return faults;
  } catch (error) {
    if (error instanceof SegmentationFault || error instanceof HmmError) return error.address ?? 0;
    throw error;
  } finally {
    await device[Symbol.asyncDispose]();
  }
}

export function sum(memory: TypedAccess, item: number, [at = 0]: readonly number[]): void {
  memory.u32.store(at, memory.u32.load(at) + item);
}

export async function useGpu(space: AddressSpace): Promise<void> {
  const gpu: WebGpuDevice = await WebGpuDevice.create(space, { memoryBytes: 2 ** 24 });
  await gpu[Symbol.asyncDispose]();
}

export function serve(): void {
  serveDevice({ kernels: { sum } });
}

const ops: HmmMirrorOps = {
  *invalidate() {
    return 0;
  },
};

export async function drive(space: AddressSpace): Promise<number | undefined> {
  registerMirrorOps("a driver", ops);
  const driver = DriverThread.open(space);
  return await driver.runOnSpace(space, function* (mm): Task<number> {
    return mm.users.read();
  });
}

const scenario: Scenario<readonly Mutex[]> = {
  name: "one lock",
  setup: (memory) => new Places(memory).mutexes("lock", 1),
  tasks: {
    *a([lock]) {
      if (lock === undefined) return;
      yield* lock.lock();
      yield* lock.unlock();
    },
  },
};

export const cases: number = Object.keys(conformanceCases).length;

export const isComplete: boolean = explore(scenario).complete;
