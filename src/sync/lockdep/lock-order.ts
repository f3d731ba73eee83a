/**
 * @module The lock order, as one text. The ranks, the table and the graph in docs/ are generated
 * from it. Lockdep checks every acquisition against it.
 *
 * The text has three kinds of lines:
 *
 * | line | meaning |
 * | --- | --- |
 * | `lock name: kind: what it guards` | declares a class |
 * | `order a, b < c < d` | c may be taken while a or b is held, d while c is held; transitive |
 * | `order a < a` | two locks of class a may nest |
 * | `undo a, b` | what a guards is changed by way of the undo log (words/undo-log.ts): the death of a thread that holds it stops nobody |
 *
 * Two locks without a path between them may not be held together. A class that is not declared here
 * is checked against the orders seen so far (lockdep.ts).
 */

/** The text. Outermost first. */
export const LOCK_ORDER: string = `
  lock mmapLock: rwsem: the vma tree of an address space; held for reading while it is walked or faulted in
  lock notifierSrcu: srcu: the memory of subscriptions while their callbacks run
  lock mirrorsSem: rwsem: the mirrors of an hmm; held for reading across driver callbacks
  lock gpuLock: mutex: pages that only a GPU has, while it computes or they are read back
  lock driverLock: mutex: a driver's page table, and its use of translations
  lock deviceLock: mutex: the same of a device that our service serves, which can be made anew
  lock webgpuDriverLock: mutex: what a WebGPU device is told of changes, and RAM while it is copied for the device
  lock pageTableLock: spinlock: that a private frame's users are judged and its entry made writable in one step; mm.hmm
  lock spacesLock: spinlock: the list of live spaces and their holder counts
  lock sourcesLock: spinlock: which files have a source, and that one is claimed, or its service ends
  lock pageCacheLock: spinlock: the entries of a page cache, and that the frames they name stay; the source behind it
  lock rangesLock: spinlock: the ranges of an hmm and its in-flight invalidations
  lock mirrorClaim: spinlock: the status of a mirror, and so who may unregister it
  lock mirrorOpsLock: spinlock: which drivers are in use on the machine
  lock devicesLock: spinlock: the list of a machine's software devices
  lock notifierLock: spinlock: the list of subscriptions of an mm
  lock srcuQueueLock: spinlock: the lists of deferred calls of an srcu
  lock slabLock: spinlock: the free lists of a cache
  lock heapLock: spinlock: the heap's free blocks
  lock ramLock: spinlock: free page frames
  lock deviceMemoryLock: spinlock: free frames of a device's memory
  lock deviceSpacesLock: spinlock: the address spaces that may have pages in a device's memory
  lock migrationsLock: spinlock: the migrations that are under way in an address space

  order mmapLock < notifierSrcu < mirrorsSem < driverLock, deviceLock, webgpuDriverLock
  order mmapLock < mmapLock
  order gpuLock < webgpuDriverLock
  order driverLock, deviceLock, webgpuDriverLock < mirrorClaim, mirrorOpsLock, deviceSpacesLock, migrationsLock
  order driverLock, deviceLock, webgpuDriverLock < pageTableLock, pageCacheLock, rangesLock, notifierLock
  order driverLock, deviceLock, webgpuDriverLock < srcuQueueLock, slabLock, ramLock
  order mmapLock < sourcesLock < pageCacheLock
  order pageTableLock, rangesLock, notifierLock < slabLock, ramLock, deviceMemoryLock
  order slabLock < heapLock

  undo mmapLock, slabLock, heapLock, ramLock, spacesLock, rangesLock
  undo migrationsLock, deviceSpacesLock, pageTableLock
  undo deviceMemoryLock
  undo mirrorsSem, mirrorClaim, mirrorOpsLock, notifierLock, devicesLock, srcuQueueLock
  undo pageCacheLock, sourcesLock
`;

/** A declared lock class. */
export interface DeclaredLock {
  readonly name: string;
  readonly kind: string;
  readonly guards: string;
}

/** The parsed text. */
interface LockOrder {
  readonly locks: readonly DeclaredLock[];
  /** Direct edges as written, for the graph. */
  readonly edges: readonly (readonly [string, string])[];
  /** Classes whose changes are undone if their holder dies. */
  readonly undone: ReadonlySet<string>;
  /** Everything that may be taken while the key is held, transitively. */
  readonly inside: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Reads an order text; throws on an undeclared name or a cycle of more than one class. */
export function parseLockOrder(text: string): LockOrder {
  const locks: DeclaredLock[] = [];
  const edges: [string, string][] = [];
  const undone = new Set<string>();
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    if (line.startsWith("lock ")) locks.push(parseDeclaration(line));
    else if (line.startsWith("order ")) edges.push(...parseOrder(line));
    else if (line.startsWith("undo ")) parseNames(line.slice("undo ".length), undone);
    else if (line !== "")
      throw new SyntaxError(`Cannot read the lock order: "${line}" is neither a lock nor an order`);
  }
  const names = new Set(locks.map((lock) => lock.name));
  for (const name of [...edges.flat(), ...undone]) {
    if (!names.has(name))
      throw new SyntaxError(`Cannot read the lock order: ${name} is not declared`);
  }
  const inside = new Map(locks.map(({ name }) => [name, reachable(name, edges)]));
  for (const [name, reached] of inside) {
    const cycle = Array.from(reached).find(
      (other) => other !== name && inside.get(other)?.has(name) === true,
    );
    if (cycle !== undefined)
      throw new SyntaxError(
        `Cannot read the lock order: ${name} and ${cycle} are each inside the other`,
      );
  }
  return { locks, edges, undone, inside };
}

function parseNames(text: string, names: Set<string>): void {
  for (const name of text.split(",")) names.add(name.trim());
}

function parseDeclaration(line: string): DeclaredLock {
  const [name, kind, ...guards] = line
    .slice("lock ".length)
    .split(":")
    .map((part) => part.trim());
  if (name === undefined || kind === undefined || guards.length === 0) {
    throw new SyntaxError(
      `Cannot read the lock order: "${line}" must be "lock name: kind: what it guards"`,
    );
  }
  return { name, kind, guards: guards.join(": ") };
}

function parseOrder(line: string): [string, string][] {
  const groups = line
    .slice("order ".length)
    .split("<")
    .map((group) => group.split(",").map((name) => name.trim()));
  const edges: [string, string][] = [];
  for (let i = 1; i < groups.length; i++) {
    for (const outer of groups[i - 1]!) for (const inner of groups[i]!) edges.push([outer, inner]);
  }
  return edges;
}

function reachable(
  from: string,
  edges: readonly (readonly [string, string])[],
): ReadonlySet<string> {
  const seen = new Set<string>();
  const queue = [from];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    for (const [outer, inner] of edges) {
      if (outer !== name || seen.has(inner)) continue;
      seen.add(inner);
      queue.push(inner);
    }
  }
  return seen;
}

const order = parseLockOrder(LOCK_ORDER);

/**
 * Whether a death with a lock of this class is undone. Then "rwsem" or "spinlock", which says how
 * it is released.
 */
export function undoneKind(name: string): string | undefined {
  if (!order.undone.has(name)) return undefined;
  return order.locks.find((lock) => lock.name === name)?.kind;
}

/** May `inner` be taken while `outer` is held? Undefined if one of them is not declared. */
export function orderAllows(outer: string, inner: string): boolean | undefined {
  const inside = order.inside.get(outer);
  return inside === undefined || !order.inside.has(inner) ? undefined : inside.has(inner);
}

/**
 * Name -> rank: 0 outermost; a lock's rank is above that of every lock which it may be taken under.
 */
export function lockRanks(): Map<string, number> {
  const ranks = new Map<string, number>();
  const rankOf = (name: string): number => {
    const known = ranks.get(name);
    if (known !== undefined) return known;
    const outer = order.edges
      .filter(([from, to]) => to === name && from !== name)
      .map(([from]) => rankOf(from));
    const rank = outer.length === 0 ? 0 : Math.max(...outer) + 1;
    ranks.set(name, rank);
    return rank;
  };
  for (const { name } of order.locks) rankOf(name);
  return ranks;
}

/** A Markdown table of all classes, outermost first. */
export function lockOrderTable(): string {
  const ranks = lockRanks();
  const rows = order.locks
    .map((lock) => ({ ...lock, rank: ranks.get(lock.name) ?? 0 }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ rank, name, kind, guards }) => {
      const inner = Array.from(order.inside.get(name) ?? []).join(", ");
      return `| ${rank} | \`${name}\` | ${kind} | ${guards} | ${inner === "" ? "nothing" : inner} |`;
    });
  return [
    "| rank | lock | kind | guards | may be taken while it is held |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
    "",
  ].join("\n");
}

/** A Markdown table of the classes that are undone. */
export function undoneTable(): string {
  const rows = order.locks
    .filter(({ name }) => order.undone.has(name))
    .map(({ name, guards }) => `| \`${name}\` | ${guards} |`);
  return ["| lock | what is undone |", "| --- | --- |", ...rows, ""].join("\n");
}

/** The order as a Mermaid flow chart: an arrow leads from the outer lock to the inner one. */
export function lockOrderGraph(): string {
  return [
    "flowchart TD",
    ...order.edges.map(([outer, inner]) => `  ${outer} --> ${inner}`),
    "",
  ].join("\n");
}
