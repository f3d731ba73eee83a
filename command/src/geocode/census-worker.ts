/** @module The census thread (census.ts). Entry file of a Worker. */

import { setTimeout as delay } from "node:timers/promises";

import { AddressSpace } from "../../../src/index.ts";
// This thread changes what a WebGPU device has copies of, and so runs its call-backs.
import "../../../src/webgpu.ts";
import { answerCall } from "../worker-call.ts";
import {
  PAUSE_MAX_MS,
  REMAP_PAGES,
  REWRITES_PER_ROUND,
  ROUND_MS,
  ROUNDS_PER_REMAP,
} from "./census.ts";
import type { CensusInput, CensusReport } from "./census.ts";
import {
  ANSWER_BYTES,
  ANSWER_CITY,
  CITY_BYTES,
  CITY_INDEX,
  CITY_POPULATION,
  CONTROL_ANSWERED,
  CONTROL_CLOCK,
  CONTROL_LATEST,
  LOG_AFTER,
  LOG_BEFORE,
  LOG_BYTES,
  LOG_CITY,
  LOG_VERSION,
  PAGE_BYTES,
} from "./layout.ts";
import { encodePopulation, VERSION_LIMIT } from "./population.ts";
import { Random } from "./random.ts";

/**
 * How far from the city that was answered last an aimed rewrite may go, in slots: about a page of
 * cities.
 */
const AIM_SLOTS = 128;
/** In a long pause it hears so often that it is to end. */
const HEAR_MS = 20;

class Census {
  readonly counts: { rewrites: number; remaps: number; dirtyRemaps: number } = {
    rewrites: 0,
    remaps: 0,
    dirtyRemaps: 0,
  };
  private readonly space: AddressSpace;
  private readonly input: CensusInput;
  private readonly random: Random;
  /** By slot. Only this thread rewrites, so what it wrote last is what stands there. */
  private readonly versions: Uint32Array;

  constructor(space: AddressSpace, input: CensusInput) {
    this.space = space;
    this.input = input;
    this.random = new Random(input.seed);
    this.versions = new Uint32Array(input.map.cityCount);
  }

  rewriteSome(): void {
    const { cityCount } = this.input.map;
    for (let turn = 0; turn < REWRITES_PER_ROUND; turn++) {
      this.rewrite(turn % 2 === 0 ? this.random.nextBelow(cityCount) : this.aim());
    }
  }

  /** Takes some pages away from right beside the tree, and maps others in their place. */
  remapSome(): void {
    const { space, random } = this;
    const { restless, restlessBytes } = this.input.map;
    const pages = restlessBytes / PAGE_BYTES;
    const firstPage = random.nextBelow(pages);
    const pageCount = Math.min(1 + random.nextBelow(REMAP_PAGES), pages - firstPage);
    const address = restless + firstPage * PAGE_BYTES;
    space.munmapSync(address, pageCount * PAGE_BYTES);
    space.mmapSync(pageCount * PAGE_BYTES, { address, fixed: "noreplace" });
    for (let page = 0; page < pageCount; page++) {
      const word = address + page * PAGE_BYTES;
      if (space.u32.load(word) !== 0) this.counts.dirtyRemaps++;
      space.u32.store(word, 0xdeadbeef); // the next one to map here must not see it
    }
    this.counts.remaps++;
  }

  /** A slot near the city that the device answered with last. */
  private aim(): number {
    const { space, random } = this;
    const { answers, cities, cityCount, control } = this.input.map;
    const latest = space.u32.load(control + CONTROL_LATEST);
    const city = space.ptr.load(answers + latest * ANSWER_BYTES + ANSWER_CITY);
    const slot = city === 0 ? 0 : (city - cities) / CITY_BYTES;
    return Math.min(cityCount - 1, Math.max(0, slot + random.nextBelow(2 * AIM_SLOTS) - AIM_SLOTS));
  }

  /** One more inhabitant: tick, rewrite, tick, and both ticks into the log. */
  private rewrite(slot: number): void {
    const { space } = this;
    const { map, cities } = this.input;
    const version = this.versions[slot]! + 1;
    if (this.counts.rewrites === map.logCapacity || version === VERSION_LIMIT) return;
    this.versions[slot] = version;
    const city = map.cities + slot * CITY_BYTES;
    const index = space.u32.load(city + CITY_INDEX);
    const cell = encodePopulation(cities.populations[index]!, version);

    const before = space.u32.atomicAdd(map.control + CONTROL_CLOCK, 1) + 1;
    space.f64.store(city + CITY_POPULATION, cell);
    const after = space.u32.atomicAdd(map.control + CONTROL_CLOCK, 1) + 1;

    const entry = map.log + this.counts.rewrites * LOG_BYTES;
    space.u32.store(entry + LOG_CITY, index);
    space.u32.store(entry + LOG_VERSION, version);
    space.u32.store(entry + LOG_BEFORE, before);
    space.u32.store(entry + LOG_AFTER, after);
    this.counts.rewrites++;
  }
}

await answerCall(async (input: CensusInput, call): Promise<CensusReport> => {
  await using space = await AddressSpace.attach(input.handle);
  const census = new Census(space, input);
  const start = performance.now();
  let pauseMs = ROUND_MS;
  let answered = 0;
  for (let round = 0; !call.hasMessage(); round++) {
    census.rewriteSome();
    if (round % ROUNDS_PER_REMAP === 0) census.remapSome();
    const now = space.u32.atomicLoad(input.map.control + CONTROL_ANSWERED);
    pauseMs = !input.isPatient || now !== answered ? ROUND_MS : Math.min(2 * pauseMs, PAUSE_MAX_MS);
    answered = now;
    const endMs = performance.now() + pauseMs;
    do await delay(Math.min(pauseMs, HEAR_MS));
    while (performance.now() < endMs && !call.hasMessage());
  }
  return { ...census.counts, seconds: (performance.now() - start) / 1000 };
});
