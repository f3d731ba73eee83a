/**
 * @module devices/software/device-worker
 * The module that a device's Workers run: joins the machine, becomes one of the device's threads, and runs what its owner sends. It needs no address space of its own: whatever it faults on,
 * the device's mirror leads to the address space, and a range keeps that alive meanwhile.
 */

import { enterWorker } from "../../host/worker-scope.ts";
import { MachineSeat } from "../../space/machine-seat.ts";
import { EINVAL, ENOENT } from "../../sync/errno.ts";
import { HmmError } from "../../sync/errors.ts";
import type { Kernel } from "./device-memory.ts";
import { DeviceThread } from "./device-thread.ts";
import "./mirror-ops.ts";
import { type OwnerMessage, type ThreadMessage, type ThreadStart, packFailure } from "./worker-messages.ts";

const scope = enterWorker();
const post = (message: ThreadMessage): void => scope.post(message);

async function loadKernel(module: string, name: string): Promise<Kernel> {
  let exports: Record<string, unknown>;
  try {
    exports = (await import(module)) as Record<string, unknown>;
  } catch (error) {
    throw new HmmError(
      ENOENT,
      "dispatch",
      `Cannot load the kernel's module ${module}: ${String(error)}; check its URL`,
    );
  }
  const kernel = exports[name];
  if (typeof kernel === "function") return kernel as Kernel;
  throw new HmmError(
    EINVAL,
    "dispatch",
    `Cannot run the kernel "${name}": ${module} exports no such function; check the name`,
  );
}

function openThread({ machine, machineId, recordAt, index }: ThreadStart): { seat: MachineSeat; thread: DeviceThread } {
  const seat = MachineSeat.attach(machine, machineId);
  seat.hold();
  try {
    return { seat, thread: DeviceThread.open(seat.machine, recordAt, index) };
  } catch (error) {
    seat.drop();
    throw error;
  }
}

async function serve(start: ThreadStart): Promise<void> {
  const { seat, thread } = openThread(start);
  const run = async (message: OwnerMessage & { kind: "run" }): Promise<void> => {
    try {
      const kernel = await loadKernel(message.module, message.export);
      for (const section of message.sections) seat.machine.ram.adoptSection(section);
      const failure = thread.run({ ...message, kernel });
      post(failure === undefined ? { kind: "ran" } : { kind: "ran", failure: packFailure(failure) });
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
