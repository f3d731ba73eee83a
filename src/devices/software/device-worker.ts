/**
 * @module devices/software/device-worker
 * The module that a device's Workers run: joins the machine, becomes one of the device's threads,
 * and runs what its owner sends. It needs no address space of its own: the device's mirror leads to
 * the address space, and a range keeps that alive during a fault.
 */

import { enterWorker } from "../../host/worker-scope.ts";
import { MachineSeat } from "../../space/machine-seat.ts";
import { kernelLeftBehind } from "../device-fault.ts";
import { DeviceThread } from "./device-thread.ts";
import { loadKernel } from "./kernel-module.ts";
import "./mirror-ops.ts";
import {
  type OwnerMessage,
  type ThreadMessage,
  type ThreadStart,
  packFailure,
} from "./worker-messages.ts";

const scope = enterWorker();
const post = (message: ThreadMessage): void => scope.post(message);

function openThread(start: ThreadStart): { seat: MachineSeat; thread: DeviceThread } {
  const { machine, machineId, index } = start;
  const seat = MachineSeat.attach(machine, machineId);
  seat.use();
  try {
    return { seat, thread: DeviceThread.open(seat.machine, start, index) };
  } catch (error) {
    seat.drop();
    throw error;
  }
}

async function serve(start: ThreadStart): Promise<void> {
  const { seat, thread } = openThread(start);
  // The items of a kernel that leaves promises behind are long over when one is rejected: the next
  // dispatch is answered with it.
  let leftBehind: Error | undefined;
  scope.onUnhandledRejection((reason) => {
    leftBehind ??= kernelLeftBehind(reason);
  });
  const run = async (message: OwnerMessage & { kind: "run" }): Promise<void> => {
    try {
      const kernel = await loadKernel(message.module, message.exportName);
      for (const section of message.sections) seat.machine.ram.sections.adopt(section);
      const failure = thread.run({ ...message, kernel }) ?? leftBehind;
      leftBehind = undefined;
      post(
        failure === undefined ? { kind: "ran" } : { kind: "ran", failure: packFailure(failure) },
      );
    } catch (error) {
      post({ kind: "ran", failure: packFailure(error) });
    }
  };
  const leave = (): void => {
    thread.close();
    seat.drop();
    post({ kind: "left" });
  };
  scope.onMessage((message) => {
    const order = message as OwnerMessage;
    if (order.kind === "run") void run(order);
    else leave();
  });
  post({ kind: "ready" });
}

try {
  await serve((await scope.start) as ThreadStart);
} catch (error) {
  post({ kind: "ready", failure: packFailure(error) });
}
