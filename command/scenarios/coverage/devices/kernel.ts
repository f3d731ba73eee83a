/**
 * @module A thread of the software device, played by a task: its fault service, and the memory that
 * a kernel sees.
 */

import { DeviceFault } from "../../../../src/devices/device-fault.ts";
import { DeviceThread } from "../../../../src/devices/software/device-thread.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import { DeviceTranslator, WorkItem } from "../../../../src/devices/software/device-translator.ts";
import { FaultRing } from "../../../../src/devices/service/fault-ring.ts";
import { FaultService } from "../../../../src/devices/service/fault-service.ts";
import type { Kernel } from "../../../../src/devices/software/kernel.ts";
import type { TypedAccess } from "../../../../src/mmu/access.ts";
import { TypedMemory } from "../../../../src/mmu/typed-memory.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { bug } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { DeviceWorld } from "./stage.ts";

/** Runs `use` with a fault service of the device. */
export function* withService<T>(
  { software }: DeviceWorld,
  { machine }: HmmHarness,
  use: (service: FaultService) => Task<T>,
): Task<T> {
  const service = yield* FaultService.open(viewDevice(machine, software));
  if (typeof service === "number") bug(`The device has no service: ${service}`);
  const result = yield* use(service);
  yield* service.close();
  return result;
}

/**
 * Runs `use` with the memory of a kernel, in a work item that stalls at its faults. A fault that
 * nothing helps ends it.
 */
export function* inKernel(
  world: DeviceWorld,
  harness: HmmHarness,
  use: (memory: TypedMemory) => Task<void>,
): Task<void> {
  yield* withService(world, harness, function* (service) {
    const work = new WorkItem();
    work.begin(0, true);
    const ring = new FaultRing(harness.machine.memory, world.record.rings.get(0));
    const translator = new DeviceTranslator(service, ring, work);
    try {
      yield* use(new TypedMemory(harness.machine, world.software.shootdown, translator, work));
    } catch (error) {
      if (!(error instanceof DeviceFault)) throw error;
    }
  });
}

/**
 * A kernel whose body is a task, so that a dispatch is explored with what its items do (`apply` of
 * sync/runners/stepping.ts).
 */
export function steppingKernel(
  body: (memory: TypedAccess, item: number, args: readonly number[]) => Task<void>,
): Kernel {
  const plain: Kernel = () => bug("This kernel is for modules that are derived: run it from there");
  return Object.assign(plain, { $steps: body });
}

/** As the device's thread `index`, from joining it to leaving it. */
export function* asThread<T>(
  { record }: DeviceWorld,
  { machine }: HmmHarness,
  index: number,
  use: (thread: DeviceThread) => Task<T>,
): Task<T> {
  const thread = yield* DeviceThread.join(
    machine,
    { recordAt: record.at, serial: record.serial },
    index,
  );
  if (typeof thread === "number") bug(`The device has no room for a thread: ${thread}`);
  const result = yield* use(thread);
  yield* thread.leave();
  return result;
}
