/** @module The holes that the series of June 2019 left, and two bugs of on-demand paging. */

import type { Exhibit } from "../exhibit.ts";
import { aba } from "./aba.ts";
import { driverLock } from "./driver-lock.ts";
import { lastUser } from "./last-user.ts";
import { neverRegistered } from "./never-registered.ts";
import { parked } from "./parked.ts";
import { readHeld } from "./read-held.ts";
import { timeout } from "./timeout.ts";
import { twoNotifiers } from "./two-notifiers.ts";

export const holeExhibits: readonly Exhibit[] = [
  aba,
  twoNotifiers,
  timeout,
  neverRegistered,
  driverLock,
  lastUser,
  parked,
  readHeld,
];
