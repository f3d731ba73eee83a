/**
 * @module devices/software/serve-device
 * A Worker that serves as a thread of a software device: joins the machine, becomes one of the
 * device's threads, and runs what its owner sends. It needs no address space of its own: the
 * device's mirror leads to the address space, and a range keeps that alive during a fault.
 */

import {
  DriverThread,
  anObject,
  enterWorker,
  takeOptions,
  type OptionRules,
} from "../../driver-interface.ts";
import { kernelLeftBehind } from "../device-fault.ts";
// A WebGPU device may be on the same address space, and this thread changes mappings.
import "../webgpu-record/mirror-ops.ts";
import { DeviceThread } from "./device-thread.ts";
import { type ServedKernels, findKernel } from "./kernel-module.ts";
import "./mirror-ops.ts";
import { refusalOf } from "./options.ts";
import {
  type OwnerMessage,
  type ThreadMessage,
  type ThreadStart,
  packFailure,
  readOwnerMessage,
  readThreadStart,
} from "./worker-messages.ts";

/** What a Worker serves a device with. */
export interface ServeDeviceOptions {
  /**
   * The kernels by name: `{ sum }`. A dispatch names one by `exportName`, without `module`. Default
   * none: then only kernels of modules can run.
   */
  readonly kernels?: ServedKernels;
}

const SERVE_RULES: OptionRules<ServeDeviceOptions> = { kernels: anObject };

let isServing = false;

/**
 * Makes this Worker a thread of a software device: that of the program whose option `worker` has
 * started it. Call it once, in the Worker's module. Throws if the thread is no Worker, or serves
 * already.
 *
 * ```ts fragment
 * import { serveDevice } from "hmm-ts/worker";
 * import { sum } from "./sum-kernel.js";
 *
 * serveDevice({ kernels: { sum } });
 * ```
 */
export function serveDevice(options: ServeDeviceOptions = {}): void {
  const refuse = refusalOf("serve the device");
  const { kernels = {} } = takeOptions<ServeDeviceOptions>(refuse, options, SERVE_RULES);
  if (isServing) throw new Error("Cannot serve a device: this Worker does already; call it once");
  const scope = enterWorker();
  isServing = true;
  const post = (message: ThreadMessage): void => scope.post(message);
  const begin = async (): Promise<void> => {
    const { driver, thread } = openThread(readThreadStart(await scope.start));
    // The items of a kernel that leaves promises behind are long over when one is rejected: the
    // next dispatch is answered with it.
    let leftBehind: Error | undefined;
    scope.onUnhandledRejection((reason) => {
      leftBehind ??= kernelLeftBehind(reason);
    });
    const run = async (order: OwnerMessage & { kind: "run" }): Promise<void> => {
      const kernel = await findKernel(kernels, order);
      if (order.machine !== undefined) driver.adopt(order.machine);
      const failure = thread.run({ ...order, kernel }) ?? leftBehind;
      leftBehind = undefined;
      if (failure !== undefined) throw failure;
    };
    const leave = (): void => {
      thread.close();
      driver.close();
      post({ kind: "left" });
    };
    scope.onMessage((message) => {
      const order = readOwnerMessage(message);
      if (order === undefined) return;
      if (order.kind === "leave") leave();
      else
        run(order).then(
          () => post({ kind: "ran" }),
          (error: unknown) => post({ kind: "ran", failure: packFailure(error) }),
        );
    });
    post({ kind: "ready" });
  };
  begin().catch((error: unknown) => post({ kind: "ready", failure: packFailure(error) }));
}

function openThread(start: ThreadStart): { driver: DriverThread; thread: DeviceThread } {
  const driver = DriverThread.attach(start.machine);
  try {
    return { driver, thread: DeviceThread.open(driver.machine, start, start.index) };
  } catch (error) {
    driver.close();
    throw error;
  }
}
