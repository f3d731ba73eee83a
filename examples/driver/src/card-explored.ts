/**
 * The card, explored: it reads a page, in its Worker, while a CPU thread gives the page up, in
 * every order of their steps with at most one preemption and one wait that times out.
 */

import { HARNESS_PAGE, explore, harnessScenario } from "hmm-ts/checker";
import { EBUSY, type HmmMirror, PAGE_BYTES } from "hmm-ts/driver";
import { openCard, readCard, playCard, stopCard } from "./card.js";

const { findings, complete, classes } = explore(
  harnessScenario<HmmMirror>({
    name: "card-vs-madvise",
    harness: { pages: 1 },
    setup: (harness) => {
      const mirror = harness.run(openCard(harness.machine, harness.mm));
      if (typeof mirror === "number") throw new Error(`no card: ${mirror}`);
      return mirror;
    },
    tasks: {
      *owner(mirror) {
        const errno = yield* readCard(mirror, HARNESS_PAGE * PAGE_BYTES, new Uint8Array(4));
        // EBUSY: the checker lets the wait of a second time out, too
        if (errno !== 0 && errno !== EBUSY) throw new Error(`the card answered ${errno}`);
        yield* stopCard(mirror);
      },
      *card(mirror) {
        yield* playCard(mirror);
      },
      madvise: (_mirror, harness) => harness.discard(HARNESS_PAGE, 1),
    },
  }),
  { engine: "bounded", preemptions: 1, timeouts: 1 },
);
if (findings.length > 0 || !complete)
  throw new Error(findings.map(({ message, token }) => `${message} (${token})`).join("\n"));
console.log(classes > 1 ? "explored, nothing found" : "nothing explored");
