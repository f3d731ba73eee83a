/**
 * @module devices/webgpu/session
 * A device as its Worker has it: the record and the mirror, the pool, the GPU of the moment, and
 * the orders that are carried out on them, one at a time. A lost GPU is replaced: RAM has every
 * page, so nothing is lost with it but time; or what kernels had stored to private pages.
 */

import {
  DriverThread,
  EIO,
  ENODEV,
  HmmError,
  HmmMirror,
  PAGE_BYTES,
  bug,
  errnoName,
  liveAgent,
  runDaemon,
  type Errno,
} from "../../driver-interface.ts";
import { DeviceFault } from "../device-fault.ts";
import type { SnapshotPage } from "../driver.ts";
import { type Acquired, acquireDevice, useDevice } from "./adapter.ts";
import type { Bound } from "./bound.ts";
import { Bringer } from "./bring.ts";
import { ChunkRunner } from "./chunk.ts";
import type { ChunkParts } from "./chunk-parts.ts";
import { type Outcome, prefetch, snapshot, transfer } from "./commands.ts";
import { LOSSES_MAX, runDispatch } from "./dispatch.ts";
import { FramePool } from "./frame-pool.ts";
import type {
  AdapterReport,
  Answers,
  DispatchOrder,
  KernelOrder,
  ResourceSpec,
  WorkerStart,
} from "./messages.ts";
import { framesFor } from "./memory-plan.ts";
// So that this thread may attach beside such a device.
import "../webgpu-record/mirror-ops.ts";
import { joinRecord, putRecord } from "../webgpu-record/record-life.ts";
import { PageMap } from "./page-map.ts";
import { lostText, ownerOf } from "../webgpu-record/private-memory.ts";
import { PrivatePages } from "./private-pages.ts";
import { GpuMemoryError, RealGpu } from "./real-gpu.ts";
import { WgslProgram } from "./real-program.ts";
import { type WebGpuRecord, drainLog, withDriverLock } from "../webgpu-record/record.ts";
import { Resource } from "./bound-resources.ts";
import { rowsFor } from "./ranges.ts";
import type { Row } from "./rows.ts";
import { publishStats } from "./stats.ts";

export class Session {
  readonly driver: DriverThread;
  readonly record: WebGpuRecord;
  readonly start: WorkerStart;
  readonly parts: ChunkParts;
  readonly runner: ChunkRunner;
  adapter: AdapterReport;
  /** Workgroups run, and devices lost, so far. */
  items = 0;
  losses = 0;
  readonly #mirror: HmmMirror;
  /** Of the reference to the record. */
  readonly #slot: number;
  /** The GPUDevice is the program's. */
  readonly #isOwn: boolean;
  readonly #programs = new Map<string, WgslProgram>();
  readonly #resources = new Map<number, Resource>();
  readonly #current: CurrentGpu;
  /** The task that serves other threads; undefined: the device has no private memory. */
  readonly #serving: Promise<void> | undefined;

  private constructor(opened: Opened, bringer: Bringer, gpu: CurrentGpu, adapter: AdapterReport) {
    const { driver, record, mirror, start, pool, map, slot } = opened;
    this.#slot = slot;
    this.#isOwn = opened.isOwn;
    this.driver = driver;
    this.record = record;
    this.start = start;
    this.adapter = adapter;
    this.#mirror = mirror;
    this.#current = gpu;
    const { machine } = driver;
    this.parts = {
      machine,
      record,
      pool,
      map,
      gpu: () => gpu.gpu,
      bringer,
      isOwnersThread: opened.isOwn,
      privatePages: opened.privatePages,
    };
    this.runner = new ChunkRunner(this.parts);
    const { privatePages } = opened;
    if (privatePages !== undefined) {
      const serving = privatePages.serve(() => this.publish());
      this.#serving = runDaemon(machine.memory, serving, "WebGPU device's server");
    }
  }

  /** Rejects with HmmError, and leaves nothing behind. */
  static async open(start: WorkerStart, own?: GPUDevice): Promise<Session> {
    const { poolFrames, rowFrames } = framesFor(start);
    const acquired =
      own === undefined
        ? await acquireDevice(start.adapter, poolFrames, rowFrames)
        : useDevice(own, start.adapter, poolFrames);
    const ends: (() => unknown)[] = own === undefined ? [() => acquired.device.destroy()] : [];
    try {
      return await Session.#openWith(start, acquired, own !== undefined, ends);
    } catch (error) {
      for (const end of ends.toReversed()) await end();
      throw error;
    }
  }

  /** `ends` gets what is to be undone if it fails. */
  static async #openWith(
    start: WorkerStart,
    acquired: Acquired,
    isOwn: boolean,
    ends: (() => unknown)[],
  ): Promise<Session> {
    const driver = DriverThread.attach(start.machine);
    ends.push(() => driver.close());
    const { machine } = driver;
    const joined = await driver.run(joinRecord(machine, start.place));
    if (typeof joined === "number") throw notMade(joined);
    const { record, slot } = joined;
    ends.push(() => driver.run(putRecord(machine, record, slot)));
    const mirror = new HmmMirror(machine, record.mirror.at);
    const map = new PageMap(acquired.leavesMax);
    const { poolFrames, rowFrames } = framesFor(start);
    const pool = new FramePool(poolFrames, record, map, rowFrames);
    const base = { driver, record, mirror, start, pool, map, slot, isOwn };
    const current: CurrentGpu = { gpu: await makeGpu(base, acquired) };
    const timeoutMs = start.faultTimeoutMs;
    const gpu = (): RealGpu => current.gpu;
    const { slots } = framesFor(start);
    const privatePages = start.isPrivate
      ? new PrivatePages({ machine, record, pool, gpu, slots })
      : undefined;
    record.worker = liveAgent(machine.memory);
    const opened = { ...base, privatePages };
    const bringer = await driver.run(
      Bringer.open({ machine, mirror, record, pool, gpu, privatePages, timeoutMs }),
    );
    if (typeof bringer === "number") throw notMade(bringer);
    const session = new Session(opened, bringer, current, acquired.report);
    session.publish();
    return session;
  }

  get gpu(): RealGpu {
    return this.#current.gpu;
  }

  /** Drains the log, and drops copies that are good for one dispatch only. */
  async dropShared(): Promise<void> {
    const { pool } = this.parts;
    const isQuiet = this.start.isQuiet;
    await this.driver.run(
      withDriverLock(this.record, () => {
        drainLog(this.record, pool.strike);
        if (!isQuiet) pool.dropShared();
      }),
    );
  }

  /** Another GPU in place of one that is lost. Rejects with HmmError ENODEV when there is none. */
  async replaceGpu(): Promise<void> {
    if (this.#isOwn) {
      const why = "your GPUDevice was lost, or refused what it was given";
      const text = `Cannot use the device: ${why}; make a WebGpuDevice on another`;
      throw new HmmError("ENODEV", "device", text);
    }
    this.losses++;
    this.gpu.destroy();
    const { pool, map, privatePages } = this.parts;
    if (privatePages !== undefined) await this.driver.run(privatePages.loseAll());
    const acquired = await acquireDevice(this.start.adapter, pool.frames, pool.rows.frames);
    const { driver, record, start } = this;
    const slot = this.#slot;
    const opened = { driver, record, mirror: this.#mirror, start, pool, map, slot, isOwn: false };
    await driver.run(withDriverLock(record, () => pool.dropAll()));
    this.#current.gpu = await makeGpu(opened, acquired);
    this.adapter = acquired.report;
  }

  /** The kernel, compiled. Rejects with WgslError. */
  async program({ code, entryPoint, isPure }: KernelOrder): Promise<WgslProgram> {
    const key = `${entryPoint} ${isPure}\n${code}`;
    let program = this.#programs.get(key);
    if (program === undefined) {
      program = new WgslProgram(code, entryPoint, isPure);
      this.#programs.set(key, program);
    }
    if (this.gpu.isLost) await this.replaceGpu();
    // To the end of both: a Worker that is ended while Dawn compiles takes its process with it.
    const compiled = await Promise.allSettled([
      program.pipeline(this.gpu, true),
      program.pipeline(this.gpu, false),
    ]);
    const refused = compiled.find(({ status }) => status === "rejected");
    if (refused?.status === "rejected") throw refused.reason as Error; // a WgslError, or Dawn's
    return program;
  }

  /** Rejects with HmmError when what is bound does not fit the kernel. */
  async bind(program: WgslProgram, order: DispatchOrder): Promise<Bound | undefined> {
    const { pool } = this.parts;
    const wanted = rowsFor(order.bindings, program.variables, pool.rows.frames);
    await this.driver.run(withDriverLock(this.record, () => pool.activateRows(wanted)));
    const { gpu } = this;
    if (wanted.length > 0 && !(await gpu.haveRows(pool.rows.all))) {
      const text = "Cannot bind the ranges: the GPU has no room for them; give less rangeBytes";
      throw new HmmError("ENOMEM", "dispatch", text);
    }
    const orders = order.bindings;
    const resourceOf = (id: number): Resource => this.#resourceOf(id);
    return await program.bind(gpu, { orders, resourceOf, rowAt: (page) => this.#rowAt(page) });
  }

  #rowAt(startPage: number): { row: Row; buffer: GPUBuffer } {
    const row = this.parts.pool.rows.active.find((one) => one.startPage === startPage);
    const buffer = row === undefined ? undefined : this.gpu.rowBuffer(row);
    if (row === undefined || buffer === undefined) return bug("Cannot find a row: it was placed");
    return { row, buffer };
  }

  /** The dispatch is over: its ranges are pages as others are. */
  closeRanges(): void {
    this.parts.pool.rows.deactivate();
  }

  #resourceOf(id: number): Resource {
    const resource = this.#resources.get(id);
    if (resource !== undefined) return resource;
    const text = "Cannot use what is bound: it has been disposed of; make it again";
    throw new HmmError("EBADF", "resource", text);
  }

  /** Rejects with HmmError ENOMEM, EINVAL. */
  async makeResource(id: number, spec: ResourceSpec): Promise<void> {
    if (this.gpu.isLost) await this.replaceGpu();
    const resource = new Resource(spec);
    await resource.on(this.gpu.device);
    this.#resources.set(id, resource);
  }

  async fillResource(id: number, at: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.gpu.isLost) await this.replaceGpu();
    await this.#resourceOf(id).write(this.gpu.device, at, bytes);
  }

  async fetchResource(id: number): Promise<Uint8Array<ArrayBuffer>> {
    if (this.gpu.isLost) await this.replaceGpu();
    return await this.#resourceOf(id).read(this.gpu.device);
  }

  unmakeResource(id: number): void {
    this.#resources.get(id)?.destroy();
    this.#resources.delete(id);
  }

  dispatch(order: DispatchOrder, isStopped: () => boolean): Promise<Answers["dispatch"]> {
    return runDispatch(this, order, isStopped);
  }

  async read(address: number, lengthBytes: number): Promise<Answers["read"]> {
    const bytes = new Uint8Array(lengthBytes);
    const { pages, faults } = await this.#transfer(address, bytes, "read");
    return { bytes, pages, faults };
  }

  async write(address: number, bytes: Uint8Array<ArrayBuffer>): Promise<Answers["write"]> {
    const { pages, faults } = await this.#transfer(address, bytes, "write");
    return { pages, faults };
  }

  async #transfer(
    address: number,
    bytes: Uint8Array<ArrayBuffer>,
    access: "read" | "write",
  ): Promise<Outcome> {
    const { parts, runner } = this;
    const timeoutMs = this.start.faultTimeoutMs;
    let outcome: Outcome;
    let losses = 0;
    do {
      if (this.gpu.isLost) await this.replaceGpu();
      await this.dropShared();
      outcome = await this.driver.run(
        transfer({ parts, runner, address, bytes, access, timeoutMs }),
      );
      // Part by part, each of which is whole: done again, it does the same.
    } while (outcome.errno === ENODEV && this.gpu.isLost && ++losses <= LOSSES_MAX);
    await this.dropShared();
    const { errno, page } = outcome;
    if (errno === 0) return outcome;
    if (errno === EIO) throw this.pagesLost(access);
    const at = Math.max(address, page * PAGE_BYTES);
    throw new DeviceFault({ errno, address: at, access, item: undefined });
  }

  /** Of pages that went with a lost GPU. */
  pagesLost(syscall: string): HmmError {
    const why = `a GPU was lost, and with it what kernels had stored to ${lostText(this.record)}`;
    const remedy = "give those pages up with munmap or madvise, and make them anew";
    return new HmmError("EIO", syscall, `Cannot ${syscall}: ${why}; ${remedy}`);
  }

  async snapshot(address: number, lengthBytes: number): Promise<SnapshotPage[]> {
    const result = await this.driver.run(
      snapshot({
        machine: this.driver.machine,
        mirror: this.#mirror,
        owner: this.start.isPrivate ? ownerOf(this.record) : 0,
        startPage: address / PAGE_BYTES,
        endPage: Math.ceil((address + lengthBytes) / PAGE_BYTES),
        timeoutMs: this.start.faultTimeoutMs,
      }),
    );
    if (Array.isArray(result)) return result;
    const { errno, page } = result;
    throw new DeviceFault({ errno, address: page * PAGE_BYTES, access: "read", item: undefined });
  }

  async prefetch(address: number, lengthBytes: number): Promise<Answers["prefetch"]> {
    if (this.gpu.isLost) await this.replaceGpu();
    const startPage = Math.floor(address / PAGE_BYTES);
    const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
    const outcome = await this.driver.run(prefetch(this.parts, startPage, endPage));
    const { errno, page, pages, faults } = outcome;
    if (errno === 0) return { pages, faults };
    if (errno === EIO) throw this.pagesLost("prefetch");
    throw new DeviceFault({ errno, address: page * PAGE_BYTES, access: "read", item: undefined });
  }

  publish(): void {
    const { pool, bringer } = this.parts;
    publishStats(this.record, {
      bring: bringer.counts,
      chunk: this.runner.counts,
      pool,
      privatePages: this.parts.privatePages,
      items: this.items,
      losses: this.losses,
    });
  }

  /** Ends the device. No order is under way, and no map is pending. */
  async close(): Promise<void> {
    const { bringer, privatePages } = this.parts;
    if (privatePages !== undefined) {
      await this.driver.run(privatePages.flushAll());
      await this.driver.run(privatePages.leave());
      await this.#serving;
    }
    await this.driver.run(bringer.close());
    const { machine } = this.driver;
    await this.gpu.settled();
    await this.driver.run(putRecord(machine, this.record, this.#slot));
    this.gpu.destroy();
    this.driver.close();
  }
}

/** The GPU of the moment. */
interface CurrentGpu {
  gpu: RealGpu;
}

interface Base {
  readonly driver: DriverThread;
  readonly record: WebGpuRecord;
  readonly mirror: HmmMirror;
  readonly start: WorkerStart;
  readonly pool: FramePool;
  readonly map: PageMap;
  readonly slot: number;
  readonly isOwn: boolean;
}

interface Opened extends Base {
  readonly privatePages: PrivatePages | undefined;
}

/** Of the shape, or of smaller buffers. Destroys the device when it fails. */
async function makeGpu(opened: Base, acquired: Acquired): Promise<RealGpu> {
  const { device, pools, eagerMs, isScattering } = acquired;
  const { driver, record, map } = opened;
  const { answered, staged } = record;
  let message = "";
  for (const shape of pools) {
    try {
      const { isOwn, start } = opened;
      const { rowFrames, slots } = framesFor(start);
      const gpu = await RealGpu.create({
        device,
        isOwn,
        shape,
        rowFrames,
        slots,
        isScattering,
        driver,
        eagerMs,
        answered,
        staged,
      });
      map.forget();
      map.flush((firstWord, words) => gpu.writeTable(firstWord, words, map.layout));
      return gpu;
    } catch (error) {
      if (!(error instanceof GpuMemoryError)) throw error;
      message = error.message;
    }
  }
  if (!opened.isOwn) device.destroy();
  const why = `the GPU has no room for ${opened.pool.frames * PAGE_BYTES} bytes (${message})`;
  const text = `Cannot make the device: ${why}; give a smaller memoryBytes`;
  throw new HmmError("ENOMEM", "device", text);
}

function notMade(errno: Errno): HmmError {
  const remedy = "create the space with more heapBytes, or dispose of other devices";
  const text = `Cannot make the device: the core answered ${errnoName(errno)}; ${remedy}`;
  return new HmmError(errno, "device", text);
}
