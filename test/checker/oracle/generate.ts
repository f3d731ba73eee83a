/** @module Programs drawn from a seed. */

import { MUTEXES, PLAIN_WORDS, WORDS } from "./language.ts";
import type { Mode, Op, Program } from "./language.ts";

/** Numbers from a seed (Marsaglia's xorshift). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) | 0 || 1;
    for (let i = 0; i < 8; i++) this.below(2);
  }

  /** From 0 up to, without, `limit`. */
  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  of<T>(list: readonly T[]): T {
    const found = list[this.below(list.length)];
    if (found === undefined) throw new RangeError("there is nothing to choose from");
    return found;
  }
}

type Maker = (dice: Dice, inside: () => Op[]) => Op;

const nothing: readonly Op[] = [];
const maybe = (dice: Dice, inside: () => Op[]): readonly Op[] =>
  dice.oneIn(3) ? inside() : nothing;
const word = (dice: Dice): number => dice.below(WORDS);
const modes: readonly Mode[] = [
  "read",
  "read",
  "write",
  "write",
  "tryRead",
  "tryWrite",
  "downgrade",
];

const access: Maker = (dice, inside) => {
  const kind = dice.below(5);
  if (kind === 0) return { op: "load", word: word(dice), inside: maybe(dice, inside) };
  if (kind === 1) return { op: "add", word: word(dice) };
  if (kind < 4) return { op: "store", word: word(dice), value: dice.below(3) };
  const expected = dice.below(2);
  return {
    op: "exchange",
    word: word(dice),
    expected,
    value: expected + 1,
    inside: maybe(dice, inside),
  };
};

const plain: Maker = (dice) => ({
  op: "plain",
  word: dice.below(PLAIN_WORDS),
  writes: dice.oneIn(2),
});

const locking: Maker = (dice, inside) => {
  const mutex = dice.below(MUTEXES);
  if (dice.oneIn(3)) return { op: "tryLock", mutex, inside: inside() };
  return { op: "lock", mutex, keeps: dice.oneIn(8), inside: inside() };
};

const sharing: Maker = (dice, inside) => ({
  op: "semaphore",
  mode: dice.of(modes),
  inside: inside(),
});

const queueing: Maker = (dice) => {
  if (dice.oneIn(2)) return { op: "wake", all: dice.oneIn(2) };
  return { op: "waitEvent", word: word(dice), value: dice.below(2), timed: dice.oneIn(3) };
};

const parking: Maker = (dice) => {
  if (dice.oneIn(2)) return { op: "rouse", word: word(dice), all: dice.oneIn(2) };
  return { op: "park", word: word(dice), expected: dice.below(2), timed: dice.oneIn(3) };
};

const conditional: Maker = (dice) => {
  if (dice.oneIn(2)) return { op: "signal", word: word(dice), all: dice.oneIn(2) };
  return { op: "await", word: word(dice), timed: dice.oneIn(3) };
};

const completing: Maker = (dice) => {
  if (dice.oneIn(2)) return { op: "complete", all: dice.oneIn(4) };
  return { op: "completion", timed: dice.oneIn(3) };
};

const counting: Maker = (dice, inside) => {
  const kind = dice.below(4);
  if (kind === 0) return { op: "get" };
  return { op: kind === 1 ? "getNotZero" : "put", inside: maybe(dice, inside) };
};

const grace: Maker = (dice, inside) => {
  if (dice.oneIn(2)) return { op: "synchronize" };
  return { op: "section", inside: inside() };
};

const makers: readonly Maker[] = [
  locking,
  sharing,
  queueing,
  queueing,
  parking,
  conditional,
  completing,
  counting,
  grace,
];

/** The program of a seed: 2 to 4 tasks over words and two other kinds of things. */
export function generate(seed: number): Program {
  const dice = new Dice(seed);
  const deaths = dice.oneIn(8) ? 1 : 0;
  const others = [dice.of(makers), dice.of(makers)];
  // A race would be told of threads that die, too, but what they did plainly has no order then.
  const kinds = [access, ...others, ...others, ...(deaths === 0 && dice.oneIn(3) ? [plain] : [])];
  const count = 2 + dice.of([0, 0, 0, 1, 1, 2]);
  let isInSection = false;
  const draw = (depth: number): Op => {
    const op = (
      depth > 1 ? dice.of([access, ...kinds.filter((kind) => kind === plain)]) : dice.of(kinds)
    )(dice, () => {
      return Array.from({ length: dice.below(depth === 0 ? 3 : 2) }, () => draw(depth + 1));
    });
    return op;
  };
  const length = (): number =>
    count === 2 ? 1 + dice.below(4) : 1 + dice.below(count === 3 ? 3 : 2);
  const tasks = Array.from({ length: count }, () =>
    Array.from({ length: length() }, () => draw(0)),
  );
  const clean = (ops: readonly Op[]): Op[] => {
    const kept: Op[] = [];
    for (const op of ops) {
      // Waiting for oneself is refused; that is no matter of the order of steps.
      if (op.op === "synchronize" && isInSection) continue;
      const wasInSection = isInSection;
      if (op.op === "section") isInSection = true;
      kept.push("inside" in op ? { ...op, inside: clean(op.inside) } : op);
      isInSection = wasInSection;
    }
    return kept;
  };
  return {
    tasks: tasks.map(clean),
    names: dice.oneIn(2),
    timeouts: dice.oneIn(4) ? 1 : null,
    spurious: dice.of([0, 0, 1, "each", "each"]),
    deaths,
    wakeAny: dice.oneIn(5),
    references: 1 + dice.below(2),
  };
}
