/**
 * @module devices/software/device-thread
 * One thread of a device: its fault service, its ring, its view of memory, and the runner of its
 * work items, on a machine that this thread is on. Which thread that is and how it begins is for
 * device-worker.ts.
 */

import {
  EMFILE,
  ENODEV,
  HmmError,
  runBlocking,
  TypedMemory,
  type Errno,
  type Machine,
  type Task,
} from "../../driver-interface.ts";
import type { DevicePlace } from "../service/device-list.ts";
import { joinDevice, leaveDevice } from "./device-state.ts";
import { DeviceTranslator, WorkItem } from "./device-translator.ts";
import { FaultRing } from "../service/fault-ring.ts";
import { FaultService, type SpanServiceClass } from "../service/fault-service.ts";
import { type Dispatch, ItemRunner } from "./item-runner.ts";
import { SpanService } from "../service/span-service.ts";
import type { SoftwareRecord } from "./software-record.ts";
import { viewDevice } from "./view-device.ts";

export class DeviceThread {
  readonly memory: TypedMemory;
  readonly service: FaultService;
  readonly work: WorkItem = new WorkItem();
  readonly #machine: Machine;
  readonly #record: SoftwareRecord;
  readonly #slot: number;
  readonly #runner: ItemRunner;

  private constructor(
    machine: Machine,
    record: SoftwareRecord,
    index: number,
    slot: number,
    service: FaultService,
  ) {
    this.#machine = machine;
    this.#record = record;
    this.#slot = slot;
    this.service = service;
    const ring = new FaultRing(machine.memory, record.device.rings.get(index));
    const translator = new DeviceTranslator(service, ring, this.work);
    this.memory = new TypedMemory(machine, record.shootdown, translator, this.work);
    this.#runner = new ItemRunner(record, service, ring, this.work, this.memory);
  }

  /** Makes this thread the device's thread `index`. Throws HmmError ENOMEM, EMFILE, ENODEV. */
  static open(
    machine: Machine,
    place: DevicePlace,
    index: number,
    Spans?: SpanServiceClass,
  ): DeviceThread {
    const thread = runBlocking(
      machine.memory,
      DeviceThread.join(machine, place, index, Spans),
      "device thread",
    );
    if (typeof thread === "number") throw threadFailure(thread);
    return thread;
  }

  /** As a task of this thread. ENOMEM, EMFILE, ENODEV: it has become none. */
  static *join(
    machine: Machine,
    place: DevicePlace,
    index: number,
    Spans: SpanServiceClass = SpanService,
  ): Task<DeviceThread | Errno> {
    const joined = yield* joinDevice(machine, place);
    if (typeof joined === "number") return joined;
    const { record, slot } = joined;
    const service = yield* FaultService.open(viewDevice(machine, record), Spans);
    if (typeof service !== "number") return new DeviceThread(machine, record, index, slot, service);
    yield* leaveDevice(machine, record, slot);
    return service;
  }

  /**
   * Runs work items of the dispatch until there are no more; see ItemRunner.run.
   *
   * @stepped dispatch
   */
  run(dispatch: Dispatch): Error | undefined {
    return this.#runner.run(dispatch);
  }

  /**
   * This thread leaves the device. What a kernel has left behind here may still call, and finds
   * nothing.
   */
  close(): void {
    runBlocking(this.#machine.memory, this.leave(), "device thread");
  }

  /** As a task of this thread, which runs no items any more. */
  *leave(): Task<void> {
    this.memory.forget();
    yield* this.service.close();
    yield* leaveDevice(this.#machine, this.#record, this.#slot);
  }
}

function threadFailure(errno: Errno): HmmError {
  const why =
    new Map<Errno, string>([
      [EMFILE, "it owns as many things on the machine as it may; give the machine more"],
      [ENODEV, "its owner is gone, and the device with it; make another"],
    ]).get(errno) ?? "the kernel heap is used up; give the machine more";
  return new HmmError(errno, "device", `Cannot start a thread of the device: ${why}`);
}
