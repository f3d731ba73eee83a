/** The card as the conformance tests use it. Their Workers import this module, too. */

import type { DriverUnderTest } from "hmm-ts/driver/conformance";
import { cardOf, closeCard, openCard, reachesCard } from "./card.js";
import { readCard, playCard, stopCard, writeCard } from "./card.js";

export const driverUnderTest: DriverUnderTest = {
  opsName: "example card",
  module: new URL(import.meta.url),
  open: openCard,
  close: closeCard,
  read: readCard,
  write: writeCard,
  reaches: reachesCard,
  driverLock: (mirror) => cardOf(mirror).lock,
  serve: playCard,
  stop: stopCard,
};
