/**
 * @module The step mremap of a trace, beside ours, with the kinds of difference that it can have.
 */

import { BASE, type Play, Undecided, answerOf, pagesOf } from "./play.ts";
import type { TracedSpace } from "./traced-space.ts";
import { PAGE_BYTES, type WindowMap } from "./window-map.ts";

/** The first kernel that moves several mappings at once. */
const MOVES_SEVERAL_SINCE = 6.17;

/** Mappings that the kernel wants to have room for before it moves one, though it may need none. */
const ROOM_FOR_MOVE = 5;

interface Call {
  readonly address: number;
  readonly oldLength: number;
  readonly newLength: number;
  readonly mayMove: boolean;
  readonly keepOld: boolean;
  readonly to: number | undefined;
}

function remap(space: TracedSpace, { address, oldLength, newLength, ...options }: Call): number {
  return space.mremapSync(address, oldLength, newLength, options);
}

const isMovedOnly = ({ oldLength, newLength, to }: Call): boolean =>
  to !== undefined && pagesOf(oldLength) === pagesOf(newLength);

const startPageOf = ({ address }: Call): number => (address - BASE) / PAGE_BYTES;

export function playMremap(play: Play): void {
  const [address, oldLength] = play.range();
  const flags = play.arg(3);
  const call: Call = {
    address,
    oldLength,
    newLength: Number(play.arg(2)),
    mayMove: flags.includes("m"),
    keepOld: flags.includes("k"),
    to: play.arg(4) === "none" ? undefined : play.address(4),
  };
  const run = (space: TracedSpace): number => remap(space, call);
  if (!play.kernels.startsWith("E")) {
    play.expectPlace(answerOf(() => run(play.space)));
  } else {
    if (!play.isPastLimit(run, roomFor(play, call)) && !isOtherwise(play, call))
      play.expectRefusal(run);
    failLate(play, call);
  }
  play.compareWindows();
}

/** Each further mapping that moves along may have used up two. */
function roomFor({ replica }: Play, call: Call): number {
  if (call.to === undefined && !call.keepOld) return 0;
  const startPage = startPageOf(call);
  const pieces = replica.map.mappingsIn(startPage, startPage + pagesOf(call.oldLength)).length;
  return ROOM_FOR_MOVE + 2 * Math.max(pieces - 1, 0);
}

/** True when ours answers otherwise than the kernel, and one of the kinds says why. */
function isOtherwise(play: Play, call: Call): boolean {
  const ours = play.probe((space) => remap(space, call));
  if (ours === play.kernels) return false;
  const kind = kindOf(play, call, ours);
  if (kind === undefined) return play.fail(`ours answers ${ours}`);
  play.met(kind);
  return true;
}

function kindOf(play: Play, call: Call, ours: string): string | undefined {
  const { replica, kernels, scene } = play;
  const { oldLength, newLength, keepOld, to } = call;
  const startPage = startPageOf(call);
  const pages = Math.min(pagesOf(oldLength), pagesOf(newLength));
  const isDone = !ours.startsWith("E");
  if (kernels === "EFAULT" && (isDone || ours === "ENOMEM")) {
    const isOneHere = !play.ours.hasBorder(startPage, startPage + pages);
    if (isOneHere && replica.map.hasBorder(startPage, startPage + pages)) return "O";
    if (scene.version < MOVES_SEVERAL_SINCE && isMovedOnly(call) && isDone) return "D";
  }
  // The one refusal that comes after the limit: a mapping that would be doubled onto itself.
  const isPastLimit = isDone || (ours === "EFAULT" && oldLength === 0 && to === call.address);
  if (kernels === "ENOMEM" && isPastLimit && to !== undefined && scene.trace.limit.of === "pages") {
    const maps = play.space.mapsSync();
    const mapped = maps.reduce((sum, { start, end }) => sum + (end - start) / PAGE_BYTES, 0);
    const grows = keepOld ? pages : pagesOf(newLength) - pagesOf(oldLength);
    if (grows > 0 && mapped + grows > scene.trace.limit.count) return "M";
  }
  return undefined;
}

/**
 * Kind N: does to ours what the kernel has done before it failed, as its window says. It goes
 * mapping by mapping: what is at the new place is unmapped, then the mapping moves.
 */
function failLate(play: Play, call: Call): void {
  const { space, replica, after } = play;
  const { to } = call;
  if (to === undefined) return;
  if (after.toString() === replica.map.toString()) {
    if (mayHaveMoved(play, call)) throw new Undecided();
    return;
  }
  play.met("N");
  if (!isMovedOnly(call)) {
    space.munmapSync(to, call.newLength);
    return;
  }
  movePieces(play, { ...call, to }, after);
}

/**
 * Kind N where the window does not tell: of several mappings the first may have moved, and the one
 * that it replaced looked like it. What they hold is then not known.
 */
function mayHaveMoved(play: Play, call: Call): boolean {
  const { map } = play.replica;
  if (play.kernels !== "ENOMEM" || !call.keepOld || !isMovedOnly(call)) return false;
  const startPage = startPageOf(call);
  const pieces = map.mappingsIn(startPage, startPage + pagesOf(call.oldLength));
  const [first, end] = pieces[0] ?? [0, 0];
  if (pieces.length < 2 || call.to === undefined) return false;
  const toPage = (call.to - BASE) / PAGE_BYTES + first - startPage;
  return map.letters.slice(toPage, toPage + end - first) === map.letters.slice(first, end);
}

function movePieces(play: Play, call: Call & { readonly to: number }, after: WindowMap): void {
  const { space, replica } = play;
  const startPage = startPageOf(call);
  for (const [first, end] of replica.map.mappingsIn(
    startPage,
    startPage + pagesOf(call.oldLength),
  )) {
    const address = BASE + first * PAGE_BYTES;
    const to = call.to + (first - startPage) * PAGE_BYTES;
    const lengthBytes = (end - first) * PAGE_BYTES;
    space.munmapSync(to, lengthBytes);
    if (play.ours.letters === after.letters) return;
    remap(space, { ...call, address, to, oldLength: lengthBytes, newLength: lengthBytes });
  }
}
