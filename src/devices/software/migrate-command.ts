/**
 * @module devices/software/migrate-command
 * MIGRATE_TO_DEV and MIGRATE_TO_SYS: pages become the device's own, or go back to RAM; and
 * prefetching, which moves or copies them and makes translations as well. Of the device itself a
 * migration does nothing: it has taken its translations away, and its next access finds the pages
 * where they are (span-service.ts).
 */

import { PAGE_BYTES, type Task } from "../../driver-interface.ts";
import type { FaultService } from "../service/fault-service.ts";
import { moveOwnPages } from "../service/own-pages.ts";
import type { CommandOutcome, CommandRequest } from "./command.ts";

/** `pages` of the outcome: how many are the device's own at the end, moved now or before. */
export function migrateCommand(
  service: FaultService,
  request: CommandRequest,
): Task<CommandOutcome> {
  return move(service, request, true);
}

/** `pages` of the outcome: how many have come back. ENOMEM: RAM is used up. */
export function migrateBackCommand(
  service: FaultService,
  request: CommandRequest,
): Task<CommandOutcome> {
  return move(service, request, false);
}

function* move(
  { device }: FaultService,
  request: CommandRequest,
  isToDevice: boolean,
): Task<CommandOutcome> {
  const { startPage, endPage } = pagesOf(request);
  const { errno, page, pages } = yield* moveOwnPages(device, startPage, endPage, isToDevice);
  return { errno, page, pages, faults: 0 };
}

/**
 * Pages of the range come to the device, as its own or as copies as far as there is room, and all
 * get translations. `pages` of the outcome: how many there are in the range. A page that cannot be
 * had ends it.
 */
export function* prefetchCommand(
  service: FaultService,
  request: CommandRequest,
): Task<CommandOutcome> {
  const { startPage, endPage } = pagesOf(request);
  // What cannot be moved, such as pages of files, is used where it is.
  if (service.device.record.ownType !== 0)
    yield* moveOwnPages(service.device, startPage, endPage, true);
  const failed = yield* service.serveRange(startPage, endPage, false);
  const pages = (failed?.page ?? endPage) - startPage;
  return { errno: failed?.errno ?? 0, page: startPage + pages, pages, faults: 1 };
}

function pagesOf({ address, lengthBytes }: CommandRequest): { startPage: number; endPage: number } {
  const endPage = Math.ceil((address + lengthBytes) / PAGE_BYTES);
  return { startPage: Math.floor(address / PAGE_BYTES), endPage };
}
