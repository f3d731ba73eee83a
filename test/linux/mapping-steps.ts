/** @module The steps mmap, munmap, mprotect and madvise of a trace, beside ours. */

import type { Advice, MmapOptions } from "../../src/index.ts";
import { BASE, type Play, answerOf, pagesOf } from "./play.ts";
import type { TracedSpace } from "./traced-space.ts";
import { PAGE_BYTES } from "./window-map.ts";

const PROTECTIONS = { n: "none", r: "read", w: "read-write" } as const;

function protectionOf(letter: string): (typeof PROTECTIONS)[keyof typeof PROTECTIONS] {
  if (letter === "n" || letter === "r" || letter === "w") return PROTECTIONS[letter];
  throw new Error(`trace.c printed the protection ${letter}`);
}

/**
 * Kind E': the kernel's mmap may make one mapping more than the limit. The next step unmaps it
 * again, and until then the windows differ.
 */
export function playMmap(play: Play): void {
  const [address, length] = play.range();
  const placement = play.arg(4);
  const options: MmapOptions = {
    address,
    protection: protectionOf(play.arg(2)),
    shared: play.arg(3) === "shared",
    fixed: placement === "replace" || placement === "noreplace" ? placement : undefined,
  };
  const map = (space: TracedSpace): number => space.mmapSync(length, options);
  if (play.isPastLimit(map, 0)) {
    play.compareWindows();
    return;
  }
  const ours = answerOf(() => map(play.space));
  const { of, count } = play.scene.trace.limit;
  if (of === "mappings" && play.after.starts.size > count && ours === "ENOMEM") {
    play.met("E'");
    play.space.munmapSync(address, length);
    play.replica.map = play.after;
    return;
  }
  play.expectPlace(ours);
  play.compareWindows();
}

export function playMunmap(play: Play): void {
  const [address, length] = play.range();
  const unmap = (space: TracedSpace): void => space.munmapSync(address, length);
  if (!play.isPastLimit(unmap, 0)) play.expect(answerOf(() => unmap(play.space)));
  play.compareWindows();
}

/**
 * Kind H, or E' at the limit: the kernel goes from mapping to mapping until one cannot be changed.
 * Ours has changed nothing, and is then brought to where the kernel is.
 */
export function playMprotect(play: Play): void {
  const [address, length] = play.range();
  const protection = protectionOf(play.arg(2));
  const protect = (space: TracedSpace): void => space.mprotectSync(address, length, protection);
  const before = play.ours;
  if (play.kernels !== "ENOMEM") play.expect(answerOf(() => protect(play.space)));
  else if (!play.isPastLimit(protect, 1)) play.expectRefusal(protect);
  if (play.kernels === "ENOMEM") {
    const startPage = (address - BASE) / PAGE_BYTES;
    const endPage = startPage + pagesOf(length);
    const changed = before.runsOtherIn(play.after, startPage, endPage);
    const hasHole = before.firstHole(startPage, endPage) < endPage;
    if (changed.length > 0) play.met(hasHole ? "H" : "E'");
    for (const [first, end] of changed) {
      play.space.mprotectSync(BASE + first * PAGE_BYTES, (end - first) * PAGE_BYTES, protection);
    }
  }
  play.compareWindows();
}

const ADVICE: ReadonlyMap<string, Advice> = new Map(
  (
    [
      "normal",
      "sequential",
      "random",
      "willneed",
      "cold",
      "pageout",
      "populate-read",
      "populate-write",
      "dontneed",
    ] as const
  ).map((advice) => [advice, advice]),
);

export function playMadvise(play: Play): void {
  const [address, length] = play.range();
  const advice = ADVICE.get(play.arg(2));
  if (advice === undefined) throw new Error(`trace.c printed the advice ${play.arg(2)}`);
  if (play.kernels === "EAGAIN") followAdvice(play, address, length, advice);
  else play.expect(answerOf(() => play.space.madviseSync(address, length, advice)));
  play.compareWindows();
}

/**
 * Kind E': the kernel goes from mapping to mapping until one cannot be split. That is one that
 * reaches past an end of the range; those before it have the advice.
 */
function followAdvice(play: Play, address: number, length: number, advice: Advice): void {
  if (play.scene.trace.limit.of !== "mappings") play.fail("the kernel is at no limit of mappings");
  play.met("E'");
  const startPage = (address - BASE) / PAGE_BYTES;
  const endPage = startPage + pagesOf(length);
  const { after } = play;
  for (const [first, end] of after.mappingsIn(0, play.scene.windowPages)) {
    if (end <= startPage) continue;
    if (first < startPage || end > endPage) break;
    play.space.madviseSync(BASE + first * PAGE_BYTES, (end - first) * PAGE_BYTES, advice);
  }
}
