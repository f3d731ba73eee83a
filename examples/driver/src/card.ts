/**
 * A driver for a pretend card. The card reads and writes an address space by DMA, through a page
 * table of its own with SLOTS entries. A Worker plays the card: it takes jobs from a mailbox in
 * shared memory. What the card has, and the lock over it, is a struct in shared memory, for the
 * call-backs run in whichever thread changes a mapping.
 */

import { DEFAULT_ENCODING, EAGAIN, EBUSY, EMFILE, ENODEV, ENOMEM } from "hmm-ts/driver";
import { HmmMirror, HmmMirrorRecord, Machine, Mutex, PAGE_BYTES, RefCount } from "hmm-ts/driver";
import { WaitQueue, addResource, array, compareExchangeWord, embed } from "hmm-ts/driver";
import { embedStruct, entryIsValid, entryIsWritable, entryPfn } from "hmm-ts/driver";
import { hmmMirrorForget, hmmMirrorRegister, hmmMirrorUnregister } from "hmm-ts/driver";
import { hmmRangeAlloc, hmmRangeFaultUnlockedTimeout, hmmRangeFree } from "hmm-ts/driver";
import { hmmRangeValid, readFrame, registerMirrorOps, registerReleaser } from "hmm-ts/driver";
import { removeResource, resourceKind, struct, u32, withHmmRange } from "hmm-ts/driver";
import { writeFrame, writeWord } from "hmm-ts/driver";
import type { Errno, HmmRange, Mm, Struct, StructView, Task, WordArray } from "hmm-ts/driver";

/** Entries of the card's page table. Page p may stand in entry p % SLOTS. */
const SLOTS = 16;
/** Bytes of one job at most. */
const JOB_BYTES = 256;
/** How long a fault may be retried while its mapping does not come to rest. */
const FAULT_MS = 1000;
/** Faults of one job: each was served, and its entry cleared again before it was used. */
const ROUNDS_MAX = 100;

/** States of the mailbox. */
const IDLE = 0;
const FILLING = 1;
const POSTED = 2;
const DONE = 3;

export interface Card extends StructView {
  readonly mirror: HmmMirrorRecord;
  readonly lock: Mutex;
  readonly pages: WordArray;
  readonly entries: WordArray;
  readonly refs: RefCount;
  readonly changed: WaitQueue;
  job: number;
  isGone: number;
  threads: number;
  page: number;
  offsetBytes: number;
  lengthBytes: number;
  isWrite: number;
  errno: number;
  readonly data: WordArray;
}

export const Card: Struct<Card> = struct<Card>("card", {
  mirror: embedStruct(HmmMirrorRecord, "hmm", "the mirror"),
  lock: embed(Mutex, "the page table", "cardLock"),
  pages: array(SLOTS, "lock", "the page that each entry is for"),
  entries: array(SLOTS, "lock", "what hmm gave for it; 0: none"),
  refs: embed(RefCount, "1 for the registration, 1 for who plays the card; at 0 it is freed"),
  changed: embed(WaitQueue, "waits for job, isGone and threads"),
  job: u32("atomic", "state of the mailbox"),
  isGone: u32("atomic", "1: the card serves no further job"),
  threads: u32("atomic: written holding lock", "1: somebody plays the card, or will"),
  page: u32("job", "of the job"),
  offsetBytes: u32("job", "where in the page the bytes begin"),
  lengthBytes: u32("job", "how many"),
  isWrite: u32("job", "1: the card stores them"),
  errno: u32("job", "what came of it, as a positive number"),
  data: array(JOB_BYTES / 4, "job", "the bytes"),
});

/** The words that a waiter looks at: job, isGone, threads. */
const watched = (card: Card): { at: number; words: number } => ({
  at: card.at + Card.offset.job,
  words: 3,
});

export function cardOf({ machine, at }: HmmMirror): Card {
  return Card.at(machine.memory, Card.containerOf(at, "mirror"));
}

function bytesOf({ memory, data, lengthBytes }: Card): Uint8Array {
  return new Uint8Array(memory.words.buffer, data.at * 4, lengthBytes);
}

/* The call-backs. */

/** The card cannot reach the pages any more. Holding the lock. */
function clear({ pages, entries }: Card, startPage: number, endPage: number): void {
  for (let slot = 0; slot < SLOTS; slot++) {
    const page = pages.get(slot) >>> 0;
    if (page >= startPage && page < endPage) entries.set(slot, 0);
  }
}

/** Importing this module is what makes a thread fit to change mappings that a card mirrors. */
export const CARD_OPS: number = registerMirrorOps("example card", {
  *invalidate(mirror, { startPage, endPage, blockable }) {
    const card = cardOf(mirror);
    if (blockable) yield* card.lock.lock();
    else if (!(yield* card.lock.tryLock())) return EAGAIN;
    clear(card, startPage, endPage);
    yield* card.lock.unlock();
    return 0;
  },
  *release(mirror) {
    const card = cardOf(mirror);
    yield* card.lock.lock();
    clear(card, 0, Infinity);
    yield* card.lock.unlock();
  },
  // The thread that had opened the card has died: its Worker leaves, and who is last frees it.
  *orphaned(mirror) {
    yield* stopCard(mirror);
    yield* putCard(mirror.machine, cardOf(mirror));
  },
});

/* Birth and end. */

/**
 * A card on `mm`, of which the caller has a user. This thread owns it, and has `playCard` run: in a
 * Worker that it starts, or as a task beside its others. ENOMEM, EMFILE, EINVAL: there is no card.
 */
export function* openCard(machine: Machine, mm: Mm): Task<HmmMirror | Errno> {
  const at = yield* machine.heap.alloc(Card);
  if (at === 0) return ENOMEM;
  const card = Card.at(machine.memory, at);
  card.lock.init();
  card.changed.init();
  card.refs.init(2);
  card.threads = 1;
  const mirror = new HmmMirror(machine, card.mirror.at);
  mirror.init(CARD_OPS);
  yield* mm.mmapLock.downWrite();
  const errno = yield* hmmMirrorRegister(mirror, mm);
  yield* mm.mmapLock.upWrite();
  if (errno === 0) return mirror;
  yield* machine.heap.free(Card, at);
  return errno;
}

/** In the thread that opened it, holding no lock. Waits until nobody plays the card any more. */
export function* closeCard(mirror: HmmMirror): Task<void> {
  const card = cardOf(mirror);
  yield* stopCard(mirror);
  yield* card.changed.waitEvent(() => card.threads === 0, Infinity, undefined, watched(card));
  yield* hmmMirrorUnregister(mirror);
  yield* putCard(mirror.machine, card);
}

/** The card serves no further job; who waits for one is answered ENODEV. */
export function stopCard(mirror: HmmMirror): Task<void> {
  return end(cardOf(mirror));
}

function* end(card: Card): Task<void> {
  yield* writeWord(card.memory, card.at + Card.offset.isGone, 1, "card is gone");
  yield* card.changed.wakeAll();
}

function* putCard(machine: Machine, card: Card): Task<void> {
  if (!(yield* card.refs.put())) return;
  yield* hmmMirrorForget(new HmmMirror(machine, card.mirror.at));
  yield* machine.heap.free(Card, card.at);
}

/* The Worker. */

const CARD_THREAD = resourceKind("example card's thread");

/** Plays the card until it is gone. Once for each card. ENOMEM, EMFILE: it cannot. */
export function* playCard(mirror: HmmMirror): Task<Errno> {
  const { machine } = mirror;
  const card = cardOf(mirror);
  // From here on a reaper leaves for this thread, if it dies.
  const slot = addResource(machine.memory, CARD_THREAD, card.at);
  const errno = slot < 0 ? EMFILE : yield* serve(mirror);
  if (slot >= 0) removeResource(machine.memory, slot);
  yield* leave(machine, card);
  return errno;
}

function* leave(machine: Machine, card: Card): Task<void> {
  yield* end(card);
  yield* card.lock.lock();
  yield* writeWord(card.memory, card.at + Card.offset.threads, 0, "threads");
  yield* card.lock.unlock();
  yield* card.changed.wakeAll();
  yield* putCard(machine, card);
}

registerReleaser(CARD_THREAD, (memory, at) => leave(Machine.of(memory), Card.at(memory, at)));

/* Jobs: posted by any thread, done by the Worker. */

/** Reads bytes through the card. 0; EFAULT, EPERM, ENOMEM, EBUSY (FAULT_MS went by), ENODEV. */
export function readCard(mirror: HmmMirror, address: number, into: Uint8Array): Task<Errno> {
  return transfer(mirror, address, into, false);
}

/** As `readCard`: the card stores the bytes. What lies before a failure has been stored. */
export function writeCard(mirror: HmmMirror, address: number, from: Uint8Array): Task<Errno> {
  return transfer(mirror, address, from, true);
}

function* transfer(
  mirror: HmmMirror,
  address: number,
  bytes: Uint8Array,
  isWrite: boolean,
): Task<Errno> {
  for (let done = 0; done < bytes.length;) {
    const offset = (address + done) % PAGE_BYTES;
    const length = Math.min(bytes.length - done, JOB_BYTES, PAGE_BYTES - offset);
    const part = bytes.subarray(done, done + length);
    const errno = yield* post(cardOf(mirror), address + done, part, isWrite);
    if (errno !== 0) return errno;
    done += length;
  }
  return 0;
}

function* post(card: Card, address: number, part: Uint8Array, isWrite: boolean): Task<Errno> {
  const { memory, changed } = card;
  const job = card.at + Card.offset.job;
  const waitFor = (state: number): Task<boolean> =>
    changed.waitEvent(
      () => card.job === state || card.isGone !== 0,
      Infinity,
      undefined,
      watched(card),
    );
  do {
    yield* waitFor(IDLE);
    if (card.isGone !== 0) return ENODEV;
  } while ((yield* compareExchangeWord(memory, job, IDLE, FILLING, "job")) !== IDLE);
  card.page = Math.floor(address / PAGE_BYTES);
  card.offsetBytes = address % PAGE_BYTES;
  card.lengthBytes = part.length;
  card.isWrite = isWrite ? 1 : 0;
  if (isWrite) bytesOf(card).set(part);
  yield* writeWord(memory, job, POSTED, "job");
  yield* changed.wakeAll();
  yield* waitFor(DONE);
  if (card.job !== DONE) return ENODEV;
  const errno = -card.errno;
  if (errno === 0 && !isWrite) part.set(bytesOf(card));
  yield* writeWord(memory, job, IDLE, "job");
  yield* changed.wakeAll();
  return errno;
}

/** The card at work: takes jobs, one by one. */
function* serve(mirror: HmmMirror): Task<Errno> {
  const { machine } = mirror;
  const card = cardOf(mirror);
  const range = yield* hmmRangeAlloc(machine, { pfns: new Uint32Array(1) });
  if (typeof range === "number") return range;
  const isWanted = (): boolean => card.job === POSTED || card.isGone !== 0;
  for (;;) {
    yield* card.changed.waitEvent(isWanted, Infinity, undefined, watched(card));
    if (card.isGone !== 0) break;
    card.errno = -(yield* doJob(mirror, range, card));
    yield* writeWord(card.memory, card.at + Card.offset.job, DONE, "job");
    yield* card.changed.wakeAll();
  }
  yield* hmmRangeFree(range);
  return 0;
}

/** The fault loop: tries, faults, tries again. The range is registered meanwhile, and no longer. */
function* doJob(mirror: HmmMirror, range: HmmRange, card: Card): Task<Errno> {
  const isWrite = card.isWrite !== 0;
  const { valid, write } = DEFAULT_ENCODING.flags;
  range.defaultFlags = isWrite ? valid | write : valid;
  const start = card.page * PAGE_BYTES;
  return yield* withHmmRange(range, mirror, start, start + PAGE_BYTES, function* () {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const errno = yield* access(mirror, card, isWrite);
      if (errno !== EBUSY) return errno;
      const pages = yield* hmmRangeFaultUnlockedTimeout(range, FAULT_MS);
      if (pages < 0) return pages;
      yield* program(card, range);
    }
    return EBUSY;
  });
}

/** R4: the entry is installed under the lock, if no invalidation has run since it was read. */
function* program(card: Card, range: HmmRange): Task<void> {
  const slot = range.startPage % SLOTS;
  yield* card.lock.lock();
  if (yield* hmmRangeValid(range)) {
    card.pages.set(slot, range.startPage);
    card.entries.set(slot, range.pfns[0] ?? 0);
  }
  yield* card.lock.unlock();
}

/** The hardware: one access through the card's table. EBUSY: the table does not allow it. */
function* access(mirror: HmmMirror, card: Card, isWrite: boolean): Task<Errno> {
  const slot = card.page % SLOTS;
  yield* card.lock.lock();
  const entry = card.pages.get(slot) >>> 0 === card.page ? card.entries.get(slot) : 0;
  const isAllowed = isWrite
    ? entryIsWritable(entry, DEFAULT_ENCODING)
    : entryIsValid(entry, DEFAULT_ENCODING);
  let errno: Errno = EBUSY;
  if (isAllowed) {
    const use = isWrite ? writeFrame : readFrame;
    const pfn = entryPfn(entry, DEFAULT_ENCODING);
    errno = yield* use(mirror.machine, pfn, card.offsetBytes, bytesOf(card));
  }
  yield* card.lock.unlock();
  return errno;
}

/** Whether the card's table has an entry for the page. */
export function* reachesCard(mirror: HmmMirror, page: number): Task<boolean> {
  const { lock, pages, entries } = cardOf(mirror);
  const slot = page % SLOTS;
  yield* lock.lock();
  const isThere = pages.get(slot) >>> 0 === page && entries.get(slot) !== 0;
  yield* lock.unlock();
  return isThere;
}
