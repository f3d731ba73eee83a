/**
 * @module What a case of Linux's HMM selftests is given: an address space, one or two devices of a
 * kind, and the test device's commands with its results: a count of pages, or the name of an errno.
 */

import { AddressSpace, HmmError, SoftwareDevice } from "../../../src/index.ts";
import type { CommandResult, SnapshotPage } from "../../../src/index.ts";

export const PAGE = 4096;
const MIB: number = 2 ** 20;
/** Bytes, pages and 32-bit numbers of the suite's usual buffer. */
export const STD: number = 4 * MIB;
export const N: number = STD / PAGE;
export const INTS: number = STD / 4;

/** The suite's two kinds of devices. */
export type DeviceKind = "device_private" | "device_coherent";
export const deviceKinds: readonly DeviceKind[] = ["device_private", "device_coherent"];

/** Two pages more than the largest case moves: capacity is not what the suite is about. */
const DEVICE_BYTES: number = 8 * MIB;
const RAM_BYTES: number = 64 * MIB;

/** What a command of the test device gives. */
export interface Answer {
  /** The name of the errno, or undefined. */
  readonly failed?: string;
  readonly cpages?: number;
  readonly faults?: number;
}

/** One device of a case, with the suite's names for its commands. */
export class Mirror {
  readonly device: SoftwareDevice;

  constructor(device: SoftwareDevice) {
    this.device = device;
  }

  read(address: number, into: Int32Array): Promise<Answer> {
    return answerOf(this.device.read(address, bytesOf(into)));
  }

  write(address: number, from: Int32Array): Promise<Answer> {
    return answerOf(this.device.write(address, bytesOf(from)));
  }

  /**
   * MIGRATE_TO_DEV: all pages are reachable in the device's memory afterwards, or ENOENT. On
   * success `mirror` gets what the device has there.
   */
  async migrateToDevice(address: number, pages: number, mirror?: Int32Array): Promise<Answer> {
    const moved = await answerOf(this.device.migrate(address, pages * PAGE));
    if (moved.failed !== undefined) return moved;
    if (moved.cpages !== pages) return { failed: "ENOENT" };
    if (mirror !== undefined) await this.device.read(address, bytesOf(mirror));
    return moved;
  }

  /** MIGRATE_TO_SYS. */
  migrateToSystem(address: number, pages: number): Promise<Answer> {
    return answerOf(this.device.migrateBack(address, pages * PAGE));
  }

  snapshot(address: number, pages: number): Promise<SnapshotPage[]> {
    return this.device.snapshot(address, pages * PAGE);
  }

  /** EXCLUSIVE, with what the device sees then. */
  async exclusive(address: number, pages: number, mirror: Int32Array): Promise<Answer> {
    const taken = await answerOf(this.device.makeExclusive(address, pages * PAGE));
    if (taken.failed === undefined) await this.device.read(address, bytesOf(mirror));
    return taken;
  }

  /** CHECK_EXCLUSIVE: EPERM while any page is the device's alone. */
  async checkExclusive(address: number, pages: number): Promise<Answer> {
    const left = await this.device.exclusivePages(address, pages * PAGE);
    return left > 0 ? { failed: "EPERM" } : {};
  }
}

async function answerOf(command: Promise<CommandResult>): Promise<Answer> {
  try {
    const { pages, faults } = await command;
    return { cpages: pages, faults };
  } catch (error) {
    if (error instanceof HmmError) return { failed: error.code };
    throw error;
  }
}

/** What a case works with. */
export class Fixture {
  readonly kind: DeviceKind;
  readonly space: AddressSpace;
  readonly mirrors: readonly Mirror[];

  constructor(kind: DeviceKind, space: AddressSpace, mirrors: readonly Mirror[]) {
    this.kind = kind;
    this.space = space;
    this.mirrors = mirrors;
  }

  get isPrivate(): boolean {
    return this.kind === "device_private";
  }

  /** The first device. */
  get mirror(): Mirror {
    return this.#at(0);
  }

  /** The second device, of cases of the fixture `hmm2`. */
  get other(): Mirror {
    return this.#at(1);
  }

  #at(index: number): Mirror {
    const mirror = this.mirrors[index];
    if (mirror === undefined) throw new Error(`The fixture has no device ${index}`);
    return mirror;
  }

  /** A mapping of private memory with these numbers in it. */
  async mapFilled(ints: Int32Array): Promise<number> {
    const address = await this.space.mmap(ints.length * 4);
    this.fill(address, ints);
    return address;
  }

  /** The CPU stores. */
  fill(address: number, ints: Int32Array): void {
    this.space.writeSync(address, bytesOf(ints));
  }

  /** The CPU loads. */
  load(address: number, count: number, space: AddressSpace = this.space): Int32Array {
    const ints = new Int32Array(count);
    space.readSync(address, bytesOf(ints));
    return ints;
  }

  /** The CPU adds 1 to every number, after it has read it. */
  increment(address: number, count: number, space: AddressSpace = this.space): Int32Array {
    const before = new Int32Array(count);
    for (let i = 0; i < count; i++) before[i] = space.i32.atomicAdd(address + 4 * i, 1);
    return before;
  }

  /** Runs `body` on a fork of the space, with a device of its own. */
  async inChild(body: (child: AddressSpace, mirror: Mirror) => Promise<void>): Promise<void> {
    await using child = await this.space.fork();
    await using device = await makeDevice(child, this.kind);
    await body(child, new Mirror(device));
  }
}

function makeDevice(
  space: AddressSpace,
  kind: DeviceKind,
  memoryBytes: number = DEVICE_BYTES,
): Promise<SoftwareDevice> {
  const memory = kind === "device_private" ? "private" : "coherent";
  return SoftwareDevice.create(space, { memoryBytes, memory });
}

/** What the fixture of a case has, beside the suite's. */
export interface FixtureSizes {
  readonly ramBytes?: number;
  readonly deviceBytes?: number;
}

/** Runs `body` with a fresh space and as many devices as it wants; all of them end afterwards. */
export async function withFixture(
  kind: DeviceKind,
  devices: 1 | 2,
  body: (fixture: Fixture) => Promise<void>,
  { ramBytes = RAM_BYTES, deviceBytes = DEVICE_BYTES }: FixtureSizes = {},
): Promise<void> {
  await using space = await AddressSpace.create({ ramBytes });
  await using first = await makeDevice(space, kind, deviceBytes);
  if (devices === 1) {
    await body(new Fixture(kind, space, [new Mirror(first)]));
    return;
  }
  await using second = await makeDevice(space, kind, deviceBytes);
  await body(new Fixture(kind, space, [new Mirror(first), new Mirror(second)]));
}

/** 0, 1, 2 ... plus `add`. */
export function pattern(count: number = INTS, add: number = 0): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => i + add);
}

/** 0, -1, -2 ... */
export function negative(count: number = INTS): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => -i);
}

export function bytesOf(ints: Int32Array): Uint8Array {
  return new Uint8Array(ints.buffer, ints.byteOffset, ints.byteLength);
}
