/**
 * @module What a program advises a software device about pages (devices/service/device.ts), beside
 * faults, another thread that advises, and one that unmaps.
 */

import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import {
  ADVICE_ACCESSED_BY,
  ADVICE_NORMAL,
  ADVICE_PREFERRED,
  ADVICE_RANGES_MAX,
  type PlacementAdvice,
} from "../../../../src/devices/policy/placement.ts";
import {
  type ServedDevice,
  adviceTable,
  takeAdvice,
} from "../../../../src/devices/service/device.ts";
import { ENTRY_LOCAL, ENTRY_PRESENT } from "../../../../src/devices/service/device-table.ts";
import { viewDevice } from "../../../../src/devices/software/view-device.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { ENOSPC } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { resolve } from "./service.ts";
import { type Body, type DeviceWorld, playing } from "./stage.ts";

const FIRST = HARNESS_PAGE;
const NEXT: number = HARNESS_PAGE + 1;

const deviceOf = ({ software }: DeviceWorld, { machine }: HmmHarness): ServedDevice =>
  viewDevice(machine, software);

const advises =
  (page: number, advice: PlacementAdvice = ADVICE_ACCESSED_BY): Body =>
  (world, harness) =>
    advise(deviceOf(world, harness), page, advice);

/** The device's entry of the page goes. */
function* advise(device: ServedDevice, page: number, advice: PlacementAdvice): Task<void> {
  const errno = yield* takeAdvice(device, page, page + 1, advice);
  assert(errno === 0, `the advice was answered ${errno}`);
}

function requireEntry({ table }: ServedDevice, page: number, flags: number): void {
  const has = table.entryOf(page) & (ENTRY_PRESENT | ENTRY_LOCAL);
  assert(has === flags, `the entry of page ${page} has ${has}, not ${flags}`);
}

/** What is read is copied, but for what is to be accessed in RAM. */
const readsAdvised: Body = function* (world, harness) {
  const device = deviceOf(world, harness);
  yield* resolve(world, harness, FIRST, false);
  for (const page of [FIRST, NEXT]) requireEntry(device, page, ENTRY_PRESENT | ENTRY_LOCAL);
  yield* advise(device, FIRST, ADVICE_ACCESSED_BY);
  requireEntry(device, FIRST, 0);
  yield* resolve(world, harness, FIRST, false);
  requireEntry(device, FIRST, ENTRY_PRESENT);
  yield* advise(device, NEXT, ADVICE_NORMAL);
  requireEntry(device, NEXT, 0);
  yield* resolve(world, harness, NEXT, false);
  requireEntry(device, NEXT, ENTRY_PRESENT | ENTRY_LOCAL);

  const known = adviceTable(device);
  for (let i = 1; i < ADVICE_RANGES_MAX; i++)
    known?.set(NEXT + 2 * i, NEXT + 2 * i + 1, ADVICE_PREFERRED);
  const refused = yield* takeAdvice(device, NEXT, NEXT + 1, ADVICE_PREFERRED);
  assert(refused === ENOSPC, `advice for which there is no room was answered ${refused}`);
  requireEntry(device, NEXT, ENTRY_PRESENT | ENTRY_LOCAL);
};

function requireAdvised(world: DeviceWorld, harness: HmmHarness, ...pages: number[]): void {
  const known = adviceTable(deviceOf(world, harness));
  for (const page of pages)
    assert(known?.of(page) === ADVICE_ACCESSED_BY, `what was advised of page ${page} is lost`);
}

const munmap: Body = (_world, { machine, mm }) =>
  doMunmap(machine, mm, NEXT * PAGE_BYTES, PAGE_BYTES);

const ADVISE = ["devices/service/device.takeAdvice"] as const;
const PLACES = ["devices/service/fault-service.#placePages"] as const;
/** The table stays, once there is one. */
const mayRemain = ["table", "words1024"] as const;

export const deviceAdvice: readonly Covered[] = [
  playing({
    name: "alone/advice",
    summary: "A device reads two pages, of which one is to be accessed in RAM.",
    frames: 4,
    pages: 2,
    mayRemain,
    tasks: { device: [[...ADVISE, ...PLACES], readsAdvised] },
  }),
  playing({
    name: "advise-vs-advise",
    summary: "Two threads advise a device for the first time, about two pages.",
    frames: 1,
    pages: 2,
    mayRemain,
    tasks: { first: [ADVISE, advises(FIRST)], next: [ADVISE, advises(NEXT)] },
    check: (world, harness) => requireAdvised(world, harness, FIRST, NEXT),
  }),
  playing({
    name: "advise-vs-munmap",
    summary: "A device is advised about a page, another of which it was advised is unmapped.",
    frames: 1,
    pages: 2,
    before: advises(NEXT),
    tasks: { advise: [ADVISE, advises(FIRST)], munmap: [["mm/calls/munmap.doMunmap"], munmap] },
    check(world, harness) {
      requireAdvised(world, harness, FIRST);
      const left = adviceTable(deviceOf(world, harness))?.of(NEXT);
      assert(left === ADVICE_NORMAL, "what was advised of a mapping outlives it");
    },
  }),
  playing({
    name: "advised-read-vs-munmap",
    summary: "A device that was advised reads a page, while another of the advised is unmapped.",
    frames: 1,
    pages: 2,
    before: advises(NEXT),
    exploration: { engine: "bounded", preemptions: 1 },
    tasks: {
      device: [PLACES, (world, harness) => resolve(world, harness, FIRST, false)],
      munmap: [["mm/calls/munmap.doMunmap"], munmap],
    },
  }),
];
