/**
 * @module A device thread that stops in the middle of serving faults, or in the middle of a section
 * of the driver lock, and waits there for its end.
 */

import { parentPort, workerData } from "node:worker_threads";
import { DeviceRecord } from "../../src/devices/service/device-record.ts";
// A thread on the machine has the code of every driver in use there.
import "../../src/devices/software/mirror-ops.ts";
import { joinDevice } from "../../src/devices/software/device-state.ts";
import { Frames } from "../../src/devices/service/frames.ts";
import { becomeServiceOwner } from "../../src/devices/service/service-owner.ts";
import type { MachineHandle } from "../../src/memory/machine.ts";
import { MachineSeat } from "../../src/space/machine-seat.ts";
import { runBlocking } from "../../src/sync/runners/run-blocking.ts";
import type { Task } from "../../src/sync/tasks/task.ts";

/** What the thread does before it waits. */
export interface Doom {
  readonly machine: MachineHandle;
  readonly machineId: string;
  readonly recordAt: number;
  readonly holdsDriverLock: boolean;
}

const { machine, machineId, recordAt, holdsDriverLock } = workerData as Doom;
const seat = MachineSeat.attach(machine, machineId);
seat.use();
const { memory } = seat.machine;
const record = DeviceRecord.at(memory, recordAt);

function* stop(): Task<void> {
  yield* joinDevice(seat.machine, { recordAt, serial: record.serial });
  yield* becomeServiceOwner(record);
  yield* record.driverLock.lock();
  const frames = new Frames(record);
  frames.take();
  frames.take();
  if (!holdsDriverLock) yield* record.driverLock.unlock();
  parentPort?.postMessage("there");
  yield* record.ownerQueue.waitEvent(() => false);
}

runBlocking(memory, stop());
