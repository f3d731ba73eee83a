/**
 * @module space/space-inspection
 * What a program can find out about an address space: the part of `AddressSpace` that changes
 * nothing.
 */

import type { Machine } from "../memory/machine.ts";
import type { CpuTranslator } from "../mm/fault/cpu-fault.ts";
import type { Mm } from "../mm/mm-struct.ts";
import { type MapsEntry, type PagemapEntry, readMaps } from "../mm/calls/pagemap.ts";
import { type Smaps, readSmaps } from "../mm/calls/smaps.ts";
import { beginStacksAtCalls } from "../sync/call-place.ts";
import type { Task } from "../sync/tasks/task.ts";
import { type AddressSpaceStats, pagemapTask, statsTask } from "./inspect.ts";
import type { SpaceHold } from "./space-hold.ts";

/** One thread's look at an address space. */
export class SpaceInspection {
  static {
    beginStacksAtCalls(this);
  }

  readonly #hold: SpaceHold;
  readonly #machine: Machine;
  readonly #mm: Mm;
  readonly #translator: CpuTranslator;

  protected constructor(hold: SpaceHold, translator: CpuTranslator) {
    this.#hold = hold;
    this.#machine = hold.seat.machine;
    this.#mm = hold.mm;
    this.#translator = translator;
  }

  /** The mappings, by address (Linux: /proc/pid/maps). */
  maps(): Promise<MapsEntry[]> {
    return this.#hold.run("maps", () => readMaps(this.#machine, this.#mm));
  }

  /** As {@link SpaceInspection.maps}, blocking. */
  mapsSync(): MapsEntry[] {
    return this.#hold.runSync("maps", () => readMaps(this.#machine, this.#mm));
  }

  /**
   * The mappings with what is in memory of each, and the sum (Linux: /proc/pid/smaps). It looks at
   * every page that has an entry: some 20 ns each.
   */
  smaps(): Promise<Smaps> {
    return this.#hold.run("smaps", () => readSmaps(this.#machine, this.#mm));
  }

  /** As {@link SpaceInspection.smaps}, blocking. */
  smapsSync(): Smaps {
    return this.#hold.runSync("smaps", () => readSmaps(this.#machine, this.#mm));
  }

  /**
   * The pages of a range, mapped or not (Linux: /proc/pid/pagemap). Throws HmmError EINVAL, also
   * for more than 4 GiB at once.
   */
  pagemap(address: number, lengthBytes: number): Promise<PagemapEntry[]> {
    return this.#hold.run("pagemap", () => this.#pagemap(address, lengthBytes));
  }

  /** As {@link SpaceInspection.pagemap}, blocking. */
  pagemapSync(address: number, lengthBytes: number): PagemapEntry[] {
    return this.#hold.runSync("pagemap", () => this.#pagemap(address, lengthBytes));
  }

  /** Statistics of the space and its machine. */
  stats(): Promise<AddressSpaceStats> {
    return this.#hold.run("stats", () => this.#stats());
  }

  /** As {@link SpaceInspection.stats}, blocking. */
  statsSync(): AddressSpaceStats {
    return this.#hold.runSync("stats", () => this.#stats());
  }

  #pagemap(address: number, lengthBytes: number): Task<PagemapEntry[]> {
    return pagemapTask(this.#machine, this.#mm, address, lengthBytes);
  }

  #stats(): Task<AddressSpaceStats> {
    return statsTask(this.#machine, this.#mm, this.#translator.faults);
  }
}
