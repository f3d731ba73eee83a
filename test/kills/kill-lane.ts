/**
 * @module One lane of `npm run kills`: for each order it starts a victim on a machine, terminates
 * it, and says what became of the machine. A machine that was not harmed serves the next kill, too.
 * The lane is a thread that may block, in Node and in a browser; lanes.ts has who starts it there.
 */

import {
  type AddressSpace,
  AddressSpace as Space,
  HmmError,
  SoftwareDevice,
} from "../../src/index.ts";
import { type SpawnedWorker, spawnWorker } from "../../src/host/spawn-worker.ts";
import { listAgents } from "../../src/sync/runners/agents.ts";
import { inside } from "../inside.ts";
import {
  AREA_BYTES,
  BYSTANDER_ADDS,
  BYSTANDER_AREA,
  CONTROL_WORDS,
  COUNTER,
  IS_PAUSED,
  type LoadRequest,
  PAGE,
  PAUSE,
  RESIDENT,
  RESIDENT_PAGES,
  VICTIM_ADDS,
  VICTIM_AREA,
  VICTIM_ROUNDS,
} from "./loads.ts";
import type { Kill, KillOrder } from "./kill.ts";

const MIB = 2 ** 20;
/** How long the lane waits for what another thread does. Whoever started it waits longer. */
const PATIENCE_MS = 20_000;
/** What is not given back by then never is. */
const REAPED_WITHIN_MS = 5_000;
/** A machine serves so many kills: threads of the dead would use up its records otherwise. */
const KILLS_A_MACHINE = 20;

interface Accounting {
  readonly frames: number;
  readonly objects: Readonly<Record<string, number>>;
}

/** The lists of devices, drivers in use and files stay once there has been one. */
const LISTS: ReadonlySet<string> = new Set(["deviceList", "mirrorOpsDirectory", "sourceTable"]);

function accountingOf(space: AddressSpace): Accounting {
  const { heap, ram } = inside(space).machine;
  const isMade = (name: string): boolean => !LISTS.has(name);
  const accounts = heap.accounting().filter(({ name }) => isMade(name));
  const objects = accounts.map(({ name, live }) => [name, live] as const);
  return { frames: ram.usage().usedPages, objects: Object.fromEntries(objects) };
}

/** The kinds of which more are alive than before, and how many. */
function moreThan(before: Accounting, now: Accounting): Record<string, number> {
  const more = Object.entries(now.objects)
    .map(([name, live]) => [name, live - (before.objects[name] ?? 0)] as const)
    .filter(([, count]) => count > 0);
  return Object.fromEntries(more);
}

/** Names of the threads that the machine has, the dead ones included. */
function threadsOf(space: AddressSpace): string[] {
  return listAgents(inside(space).machine.memory).map(({ name }) => name);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function until(isSo: () => boolean, what: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`);
    await sleep(1);
  }
}

function startWorker(
  space: AddressSpace,
  load: LoadRequest["load"],
  control: Int32Array,
): SpawnedWorker {
  const request: LoadRequest = { handle: space.handle, load, control };
  return spawnWorker(new URL("./load-worker.js", import.meta.url), request);
}

/** A machine, and who is on it beside the victims. */
class World {
  readonly space: AddressSpace;
  readonly control: Int32Array = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
  readonly #bystander: SpawnedWorker;
  #bystanderFailed: Error | undefined;
  kills = 0;

  constructor() {
    this.space = Space.createSync({ ramBytes: 16 * MIB, heapBytes: 16 * MIB });
    this.space.mmapSync(PAGE, { address: COUNTER, fixed: "replace" });
    this.space.mmapSync(RESIDENT_PAGES * PAGE, { address: RESIDENT, fixed: "replace" });
    for (let i = 0; i < RESIDENT_PAGES; i++) this.space.u32.store(RESIDENT + i * PAGE, i);
    this.space.u32.store(COUNTER, 0);
    for (const area of [VICTIM_AREA, VICTIM_AREA + AREA_BYTES / 2, BYSTANDER_AREA]) {
      // So that the upper page tables are there before they are counted.
      this.space.mmapSync(PAGE, { address: area, fixed: "replace" });
      this.space.u32.store(area, 1);
      this.space.munmapSync(area, PAGE);
    }
    this.#bystander = startWorker(this.space, "bystander", this.control);
    this.#bystander.onError((error) => (this.#bystanderFailed = error));
  }

  /** Why the bystander ended, if it did. */
  get bystanderFailed(): Error | undefined {
    return this.#bystanderFailed;
  }

  async pauseBystander(): Promise<void> {
    Atomics.store(this.control, PAUSE, 1);
    const isDone = (): boolean =>
      this.#bystanderFailed !== undefined || Atomics.load(this.control, IS_PAUSED) === 1;
    await until(isDone, "the bystander rests");
    if (this.#bystanderFailed !== undefined) throw this.#bystanderFailed;
  }

  resumeBystander(): void {
    Atomics.store(this.control, PAUSE, 0);
    Atomics.notify(this.control, PAUSE);
  }

  async end(): Promise<void> {
    await this.#bystander.terminate();
    await this.space.dispose().catch(() => {}); // a stopped machine
  }
}

/** Runs kernels on the victim's pages until `stop` is called. */
async function keepDevice(space: AddressSpace): Promise<() => Promise<void>> {
  space.mmapSync(32 * PAGE, { address: VICTIM_AREA, fixed: "replace" });
  space.mmapSync(PAGE, { address: VICTIM_AREA + AREA_BYTES / 2, fixed: "replace" });
  const device = await SoftwareDevice.create(space, { memoryBytes: 16 * PAGE, threads: 1 });
  const module = new URL("./sum-kernel.js", import.meta.url);
  const kernel = device.kernel({ module, exportName: "sum" });
  const stopping = new AbortController();
  const args = [VICTIM_AREA, VICTIM_AREA + AREA_BYTES / 2, 32];
  const running = (async () => {
    while (!stopping.signal.aborted) {
      await kernel.dispatch(8, { args });
      await sleep(0);
    }
  })();
  running.catch(() => {}); // awaited by stop
  return async () => {
    stopping.abort();
    await running;
    await device[Symbol.asyncDispose]();
  };
}

/** What the machine does after the death: everything, and nothing is lost of it. */
async function useSpace(space: AddressSpace): Promise<void> {
  const p = space.mmapSync(3 * PAGE);
  space.u32.store(p + PAGE, 7);
  space.u32.store(RESIDENT, 1);
  {
    await using child = await space.fork();
    child.u32.store(p + PAGE, 8);
    using view = space.viewSync(p, 2 * PAGE, "write");
    if (view.as(Uint32Array)[PAGE / 4] !== 7) throw new Error("a store is lost");
  }
  await space.munmap(p, 3 * PAGE);
}

/** Starts a victim, lets it run for a while, and terminates it. When that was asked for. */
async function killVictim(world: World, order: KillOrder): Promise<number> {
  const { space, control } = world;
  Atomics.store(control, VICTIM_ROUNDS, 0);
  const victim = startWorker(space, order.load, control);
  let failed: Error | undefined;
  victim.onError((error) => (failed = error));
  const ended = new Promise<void>((resolve) => victim.onExit(resolve));
  try {
    await until(() => failed !== undefined || Atomics.load(control, VICTIM_ROUNDS) > 1, "it plays");
    if (failed !== undefined) throw failed;
    // No timer: the moment is to be finer than its milliseconds.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, order.delayMs);
  } finally {
    void victim.terminate();
  }
  const startMs = performance.now();
  await ended;
  return startMs;
}

/** Waits until what the dead threads left is given back; how long that took, or undefined. */
async function untilReaped(
  { space }: World,
  threads: number,
  startMs: number,
): Promise<number | undefined> {
  while (threadsOf(space).length > threads) {
    if (performance.now() - startMs > REAPED_WITHIN_MS) return undefined;
    await space.stats();
    await sleep(1);
  }
  return performance.now() - startMs;
}

/** The sum that nobody may have got wrong: the victim may have added and not counted it. */
function isSumRight({ space, control }: World): boolean {
  const sum = space.u32.load(COUNTER);
  const counted = Atomics.load(control, VICTIM_ADDS) + Atomics.load(control, BYSTANDER_ADDS);
  // What is not counted of one victim is counted from then on.
  if (sum === counted + 1) Atomics.add(control, VICTIM_ADDS, 1);
  return sum === counted || sum === counted + 1;
}

/** Nothing is mapped where victims map, and no page table is left there. */
function clearArea(space: AddressSpace): void {
  // Else there is nothing to unmap.
  space.mmapSync(PAGE, { address: VICTIM_AREA, fixed: "replace" });
  space.munmapSync(VICTIM_AREA, AREA_BYTES);
}

async function killOnce(world: World, order: KillOrder): Promise<Kill> {
  const { space } = world;
  await useSpace(space); // so that its page tables are there before they are counted
  await world.pauseBystander();
  clearArea(space);
  const before = accountingOf(space);
  const threads = threadsOf(space).length;
  world.resumeBystander();
  const stopDevice = order.load === "discard-device" ? await keepDevice(space) : undefined;
  const withDevice = stopDevice === undefined ? threads : threadsOf(space).length;
  const startMs = await killVictim(world, order);
  const noticedMs = await untilReaped(world, withDevice, startMs);
  await useSpace(space);
  await stopDevice?.();
  await world.pauseBystander();
  clearArea(space);
  const isRight = isSumRight(world);
  const now = accountingOf(space);
  world.resumeBystander();
  const frames = Math.max(0, now.frames - before.frames);
  const objects = moreThan(before, now);
  const isLeaked = frames > 0 || Object.keys(objects).length > 0 || noticedMs === undefined;
  const outcome = !isRight ? "wrong" : isLeaked ? "leaked" : "well";
  return {
    ...order,
    outcome,
    noticedMs: Math.round(noticedMs ?? REAPED_WITHIN_MS),
    frames,
    objects,
  };
}

/** What a machine that has stopped says, or what else went wrong. */
function failedKill(order: KillOrder, error: unknown): Kill {
  const text = error instanceof Error ? error.message : String(error);
  const isStopped = error instanceof HmmError && error.code === "EOWNERDEAD";
  const lock = /while it held (\w+)/.exec(text)?.[1];
  const outcome = isStopped ? "stopped" : /in vain/.test(text) ? "hung" : "wrong";
  const detail = isStopped ? (lock ?? text) : text;
  return { ...order, outcome, noticedMs: 0, frames: 0, objects: {}, detail };
}

let world: World | undefined;

/** Carries out one order. */
export async function obey(order: KillOrder): Promise<Kill> {
  world ??= new World();
  world.kills++;
  let kill: Kill;
  try {
    kill = await killOnce(world, order);
  } catch (error) {
    // Whoever was first to hear of a machine's end says it best; the bystander may have been.
    const failed = error instanceof HmmError ? error : (world.bystanderFailed ?? error);
    kill = failedKill(order, failed);
  }
  if (kill.outcome !== "well" || world.kills === KILLS_A_MACHINE) {
    await world.end();
    world = undefined;
  }
  return kill;
}
