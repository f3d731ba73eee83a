/**
 * @module The software device as a driver under test: with copies of pages, and with private and
 * coherent memory of its own. Its commands run in the caller's thread, so it serves nothing.
 */

import type { DriverUnderTest } from "../../src/conformance/index.ts";
import type { CommandName } from "../../src/devices/software/commands.ts";
import { COMMANDS } from "../../src/devices/software/commands.ts";
import { closeDevice, openDevice } from "../../src/devices/software/open-device.ts";
import type { OpenedDevice } from "../../src/devices/software/open-device.ts";
import {
  DEVICE_COHERENT,
  DEVICE_PRIVATE,
  type DeviceMemoryType,
  type Errno,
  type HmmMirror,
  PAGE_BYTES,
  type Task,
} from "../../src/driver.ts";

/** What this thread has opened, by machine and mirror. */
const opened = new Map<object, Map<number, OpenedDevice>>();

function openedOf({ machine, at }: HmmMirror): OpenedDevice {
  const device = opened.get(machine)?.get(at);
  if (device === undefined) throw new Error("this thread has opened no such device");
  return device;
}

function* command(
  mirror: HmmMirror,
  name: CommandName,
  address: number,
  bytes: Uint8Array,
  lengthBytes: number = bytes.length,
): Task<{ errno: Errno; pages: number }> {
  return yield* COMMANDS[name].run(openedOf(mirror).service, { address, lengthBytes, bytes });
}

const NOTHING = new Uint8Array(0);

export function softwareDevice(
  exportName: string,
  ownType?: DeviceMemoryType,
  faultTimeoutMs: number = 300,
): DriverUnderTest {
  const driver: DriverUnderTest = {
    opsName: "hmm-ts software device",
    module: new URL(import.meta.url),
    exportName,
    *open(machine, mm) {
      const options = { memoryBytes: 16 * PAGE_BYTES, ownType, threads: 1, faultTimeoutMs };
      const device = yield* openDevice(machine, mm, options);
      if (typeof device === "number") return device;
      const { mirror } = device.service.device;
      const ofMachine = opened.get(machine) ?? new Map<number, OpenedDevice>();
      opened.set(machine, ofMachine.set(mirror.at, device));
      return mirror;
    },
    *close(mirror) {
      const device = openedOf(mirror);
      opened.get(mirror.machine)?.delete(mirror.at);
      yield* closeDevice(mirror.machine, device);
    },
    *read(mirror, address, into) {
      return (yield* command(mirror, "read", address, into)).errno;
    },
    *write(mirror, address, from) {
      return (yield* command(mirror, "write", address, from)).errno;
    },
    *reaches(mirror, page) {
      const { table } = openedOf(mirror).service.device;
      yield* table.driverLock.lock();
      const isThere = table.entryOf(page) !== 0;
      yield* table.driverLock.unlock();
      return isThere;
    },
    driverLock: (mirror) => openedOf(mirror).service.device.table.driverLock,
    *makeExclusive(mirror, startPage, pages) {
      const [address, length] = [startPage * PAGE_BYTES, pages * PAGE_BYTES];
      return (yield* command(mirror, "exclusive", address, NOTHING, length)).errno;
    },
  };
  if (ownType === undefined) return driver;
  return {
    ...driver,
    *migrate(mirror, startPage, pages) {
      const [address, length] = [startPage * PAGE_BYTES, pages * PAGE_BYTES];
      const outcome = yield* command(mirror, "migrate", address, NOTHING, length);
      return outcome.errno === 0 ? outcome.pages : outcome.errno;
    },
  };
}

export const remote: DriverUnderTest = softwareDevice("remote");
export const ownPrivate: DriverUnderTest = softwareDevice("ownPrivate", DEVICE_PRIVATE);
export const ownCoherent: DriverUnderTest = softwareDevice("ownCoherent", DEVICE_COHERENT);
