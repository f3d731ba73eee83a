/**
 * @module A Worker that is terminated in the middle of its operations. Chromium lets a busy one run
 * on for two seconds; after that either what it owned has been given back and everybody works on,
 * or it died holding a lock and everybody is told so. Nobody hangs.
 */

import { AddressSpace } from "../../src/index.ts";
import { check, checkEqual, pageTest } from "./page-cases.ts";
import { Peer, PeerFailure, errorOf, nextTurn, until } from "./peers.ts";

const PAGE = 4096;
const ROUNDS = 4;
/**
 * A thread may die between making a thing and writing down that it has it (docs/LIMITS.md). The
 * largest such thing here is a child, with the pages of all who map some.
 */
const LOST_BYTES_MAX: number = 24 * PAGE;

/** What somebody's operations ended with: "ok", or the code of their error. */
async function outcomeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "ok";
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    return error.code === "EOWNERDEAD"
      ? checkedOwnerDead(error)
      : `${String(error.code)}: ${error.message}`;
  }
}

/** "EOWNERDEAD", when the message names the thread and a lock. */
function checkedOwnerDead(error: Error): string {
  check(
    /thread "worker peer \d+" was terminated while it held \w+/.test(error.message),
    error.message,
  );
  return "EOWNERDEAD";
}

/**
 * Operations of the page until the victim has been noticed: until then the space has three users at
 * least.
 */
async function workUntilNoticed(space: AddressSpace): Promise<void> {
  while ((await space.stats()).users !== 2) {
    const p = await space.mmap(4 * PAGE);
    await space.write(p, new Uint8Array(4 * PAGE));
    await (await space.fork()).dispose();
    await space.munmap(p, 4 * PAGE);
    await nextTurn();
  }
}

/** One round on a machine of its own; what the page's and the survivor's operations ended with. */
async function playRound(seed: number): Promise<string> {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const [victim, survivor] = await Promise.all([Peer.start(space), Peer.start(space)]);
  const begun = victim.nextNote();
  void victim.do("churnForEver", seed);
  checkEqual(await begun, "churning", "the victim");
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const survivors = outcomeOf(survivor.do("churnUntil", seed + 1, stop));
  for (let turns = seed % 7; turns > 0; turns--) await nextTurn();
  victim.terminate();
  const outcomes = [await outcomeOf(workUntilNoticed(space))];
  Atomics.store(stop, 0, 1);
  outcomes.push(await survivors);
  await survivor.leave();
  if (outcomes.every((outcome) => outcome === "ok")) {
    // What the victim had mapped is the address space's, and stays.
    for (const { start, end } of await space.maps()) await space.munmap(start, end - start);
    checkEqual((await space.stats()).users, 1, "users that are left");
    await until(async () => (await space.stats()).ram.usedBytes <= LOST_BYTES_MAX);
  }
  await space.dispose();
  return outcomes.join(" and ");
}

pageTest(
  "terminated at a random moment: released for all, or EOWNERDEAD for all; nobody hangs",
  async (note) => {
    const first = Math.floor(Math.random() * 2 ** 20);
    // All at once: most of a round is waiting for the Worker to die.
    const outcomes = await Promise.all(
      Array.from({ length: ROUNDS }, (_, round) => playRound(first + round)),
    );
    note(`seeds from ${first} on; page and survivor: ${outcomes.join(", ")}`);
    for (const outcome of outcomes) {
      check(
        /^(ok and ok|EOWNERDEAD and EOWNERDEAD)$/.test(outcome),
        `seeds from ${first} on: ${outcomes.join(", ")}`,
      );
    }
  },
);

pageTest(
  "terminated while it held the address space's lock, and had changed nothing: page and Worker go on",
  async () => {
    const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
    const [victim, survivor] = await Promise.all([Peer.start(space), Peer.start(space)]);
    const locked = victim.nextNote();
    void victim.do("holdMmapLock", new Int32Array(new SharedArrayBuffer(4)));
    await locked;
    const waiting = [space.mmap(PAGE), survivor.do("map", PAGE)];
    victim.terminate();
    const places = await Promise.all(waiting);
    check(places[0] !== places[1], "two mappings");
    await survivor.leave();
    checkEqual((await space.stats()).mappedBytes, 2 * PAGE, "bytes that are mapped");
    await space.dispose();
  },
);

pageTest(
  "terminated in what cannot be taken back: page and Worker are told which thread, and in what",
  async () => {
    const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
    const [victim, survivor] = await Promise.all([Peer.start(space), Peer.start(space)]);
    const locked = victim.nextNote();
    void victim.do("holdHalfDone");
    await locked;
    const waiting = [errorOf(() => space.mmap(PAGE)), errorOf(() => survivor.do("map", PAGE))];
    victim.terminate();
    for (const error of await Promise.all(waiting)) {
      checkEqual(error.code, "EOWNERDEAD", error.message);
      check(
        error.message.includes(
          `thread "worker ${victim.name}" was terminated while it held invalidation`,
        ),
        error.message,
      );
    }
    checkEqual(
      (await errorOf(() => space.fork())).code,
      "EOWNERDEAD",
      "an operation that begins afterwards",
    );
    await space.dispose();
  },
);

pageTest(
  "terminated while it idles with an open write view: given back, though nobody waits for anything",
  async () => {
    const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
    const victim = await Peer.start(space);
    const p = await space.mmap(4 * PAGE);
    await victim.do("keepView", p, 2 * PAGE);
    const { users, writeViews } = await space.stats();
    checkEqual(`${users} ${writeViews}`, "3 1", "users and write views while it lives");
    checkEqual(
      (await errorOf(() => space.mremap(p, 2 * PAGE, PAGE))).code,
      "EBUSY",
      "moving what it looks at",
    );
    victim.terminate();
    await until(async () => (await space.stats()).users === 1);
    checkEqual((await space.stats()).writeViews, 0, "write views that are left");
    checkEqual(space.u8.load(p), 7, "what it wrote");
    await space.mremap(p, 2 * PAGE, PAGE);
    await space.dispose();
  },
);

pageTest("a Worker that is alive and silent is not taken for dead", async () => {
  const space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  const peer = await Peer.start(space);
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const locked = peer.nextNote();
  const held = peer.do("holdMmapLock", gate);
  await locked;
  const waiting = space.mmap(PAGE);
  // Long enough for the page to have looked after it several times while it waits.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
  await held;
  check((await waiting) > 0, "the operation succeeds when the lock comes free");
  await peer.leave();
  await space.dispose();
});

pageTest("an outcome that is neither would be told", async () => {
  checkEqual(await outcomeOf(Promise.resolve()), "ok", "success");
  checkEqual(
    await outcomeOf(Promise.reject(new PeerFailure("EIO", "broken"))),
    "EIO: broken",
    "another error",
  );
  let caught = "";
  await outcomeOf(Promise.reject(new PeerFailure("EOWNERDEAD", "no names"))).catch(
    (error: unknown) => {
      caught = String(error);
    },
  );
  check(caught.includes("no names"), "an EOWNERDEAD that names nobody fails");
});
