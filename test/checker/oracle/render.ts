/**
 * @module A program as a scenario: tasks over the primitives that ship, and what came of an
 * execution in the oracle's words.
 */

import type { Execution } from "../../../src/checker/execution/execution.ts";
import { Places } from "../../../src/checker/primitives/program.ts";
import type { Cell, Condition, PlainCell } from "../../../src/checker/primitives/program.ts";
import type { Scenario } from "../../../src/checker/scenario.ts";
import { Completion } from "../../../src/sync/primitives/completion.ts";
import type { Mutex } from "../../../src/sync/primitives/mutex.ts";
import { RefCount } from "../../../src/sync/primitives/refcount.ts";
import { RwSem } from "../../../src/sync/primitives/rwsem.ts";
import type { SharedMemory } from "../../../src/sync/shared-memory.ts";
import { Srcu } from "../../../src/sync/primitives/srcu.ts";
import { TIMED_OUT, describe } from "../../../src/sync/tasks/task.ts";
import type { Task } from "../../../src/sync/tasks/task.ts";
import { WaitQueue } from "../../../src/sync/primitives/wait-queue.ts";
import { registersOf } from "./instructions.ts";
import { MUTEXES, PLAIN_WORDS, WORDS, numbered } from "./language.ts";
import type { Numbered, Op, Program } from "./language.ts";

const TIMEOUT_MS = 5;

type Of<Name extends Op["op"]> = Extract<Op, { op: Name }>;

interface Things {
  readonly memory: SharedMemory;
  readonly cells: readonly Cell[];
  readonly plain: readonly PlainCell[];
  readonly mutexes: readonly Mutex[];
  readonly semaphore: RwSem;
  readonly queue: WaitQueue;
  readonly condition: Condition;
  readonly completion: Completion;
  readonly references: RefCount;
  readonly srcu: Srcu;
  /**
   * Where each task's registers are, and before them the number of the operation that each task is
   * in.
   */
  readonly registers: number;
}

export interface Rendered {
  readonly scenario: Scenario<unknown>;
  /** How an execution has ended, as the oracle says it. */
  readonly outcomeOf: (run: Execution) => string;
}

export function render(program: Program, name: string): Rendered {
  let things: Things | undefined;
  const bodies = numbered(program);
  const scenario: Scenario<Things> = {
    name,
    setup: (memory) => (things = setUp(memory, program)),
    tasks: Object.fromEntries(
      bodies.map((ops, task) => [
        `t${task}`,
        (shared): Task<void> => new Actor(shared, program, task).all(ops),
      ]),
    ),
  };
  return {
    scenario: scenario as Scenario<unknown>,
    outcomeOf: (run) => (things === undefined ? "" : outcomeOf(run, program, things)),
  };
}

function setUp(memory: SharedMemory, program: Program): Things {
  const places = new Places(memory);
  const references = new RefCount(memory, places.take(RefCount.WORDS));
  references.init(program.references);
  return {
    memory,
    cells: places.cells("w", WORDS),
    plain: Array.from({ length: PLAIN_WORDS }, (_, i) => places.plainCell(`p${i}`)),
    mutexes: places.mutexes("m", MUTEXES),
    semaphore: new RwSem(memory, places.take(RwSem.WORDS)),
    queue: new WaitQueue(memory, places.take(WaitQueue.WORDS)),
    condition: places.condition("c"),
    completion: new Completion(memory, places.take(Completion.WORDS)),
    references,
    srcu: new Srcu(memory, places.take(Srcu.WORDS)),
    registers: places.take(program.tasks.length + registersOf(program)) + program.tasks.length,
  };
}

/**
 * One task. What it learns it writes where no other looks; so nothing outlives an execution but the
 * memory.
 */
class Actor {
  readonly #things: Things;
  readonly #names: boolean;
  readonly #task: number;
  readonly #tasks: number;

  constructor(things: Things, program: Program, task: number) {
    this.#things = things;
    this.#names = program.names;
    this.#task = task;
    this.#tasks = program.tasks.length;
  }

  *all(ops: readonly Numbered[]): Task<void> {
    for (const numberedOp of ops) {
      const { memory, registers } = this.#things;
      memory.words[registers - this.#tasks + this.#task] = numberedOp.number + 1;
      yield* this.#do(numberedOp);
    }
  }

  #learn(number: number, value: number): void {
    const { memory, registers } = this.#things;
    memory.words[registers + number] = value + 1;
  }

  #cell(word: number): Cell {
    const cell = this.#things.cells[word];
    if (cell === undefined) throw new RangeError(`there is no word ${word}`);
    return cell;
  }

  *#do({ op, number, inside }: Numbered): Task<void> {
    switch (op.op) {
      case "load": {
        const value = yield* this.#cell(op.word).load();
        this.#learn(number, value);
        if (value !== 0) yield* this.all(inside);
        break;
      }
      case "store":
        yield* this.#cell(op.word).store(op.value);
        break;
      case "add":
        this.#learn(number, yield* this.#cell(op.word).fetchAdd(1));
        break;
      case "exchange": {
        const before = yield* this.#cell(op.word).compareExchangeValue(op.expected, op.value);
        this.#learn(number, before);
        if (before === op.expected) yield* this.all(inside);
        break;
      }
      case "plain": {
        const cell = this.#things.plain[op.word];
        if (op.writes) cell?.store(number + 1);
        else this.#learn(number, cell?.load() ?? 0);
        break;
      }
      case "lock":
      case "tryLock":
        yield* this.#lock(op, number, inside);
        break;
      case "semaphore":
        yield* this.#semaphore(op, number, inside);
        break;
      case "getNotZero":
      case "put":
      case "get":
        yield* this.#count(op, number, inside);
        break;
      default:
        yield* this.#wait(op, number, inside);
        break;
    }
  }

  *#lock(op: Of<"lock" | "tryLock">, number: number, inside: readonly Numbered[]): Task<void> {
    const mutex = this.#things.mutexes[op.mutex];
    if (mutex === undefined) throw new RangeError(`there is no mutex ${op.mutex}`);
    if (op.op === "tryLock") {
      const does = yield* mutex.tryLock();
      this.#learn(number, does ? 1 : 0);
      if (does) yield* this.all(inside);
      if (does) yield* mutex.unlock();
      return;
    }
    yield* mutex.lock();
    yield* this.all(inside);
    if (!op.keeps) yield* mutex.unlock();
  }

  *#semaphore({ mode }: Of<"semaphore">, number: number, inside: readonly Numbered[]): Task<void> {
    const { semaphore } = this.#things;
    if (mode === "tryRead" || mode === "tryWrite") {
      const does = yield* mode === "tryRead" ? semaphore.tryDownRead() : semaphore.tryDownWrite();
      this.#learn(number, does ? 1 : 0);
      if (does) yield* this.all(inside);
      if (!does) return;
    } else {
      yield* mode === "read" ? semaphore.downRead() : semaphore.downWrite();
      yield* this.all(inside);
    }
    if (mode === "downgrade") yield* semaphore.downgradeWrite();
    yield* mode === "write" || mode === "tryWrite" ? semaphore.upWrite() : semaphore.upRead();
  }

  *#count(
    op: Of<"get" | "getNotZero" | "put">,
    number: number,
    inside: readonly Numbered[],
  ): Task<void> {
    const { references } = this.#things;
    if (op.op === "get") {
      yield* references.get();
      this.#learn(number, 1);
      return;
    }
    const does = yield* op.op === "put" ? references.put() : references.getNotZero();
    this.#learn(number, does ? 1 : 0);
    if (does) yield* this.all(inside);
  }

  *#wait(op: Op, number: number, inside: readonly Numbered[]): Task<void> {
    const { queue, memory, completion, srcu } = this.#things;
    switch (op.op) {
      case "waitEvent": {
        const cell = this.#cell(op.word);
        const reads = this.#names ? { at: cell.at, words: 1 } : undefined;
        const timeoutMs = op.timed ? TIMEOUT_MS : Infinity;
        const holds = yield* queue.waitEvent(
          () => cell.peek() === op.value,
          timeoutMs,
          undefined,
          reads,
        );
        this.#learn(number, holds ? 1 : 0);
        break;
      }
      case "wake":
        yield* op.all ? queue.wakeAll() : queue.wakeOne();
        break;
      case "park": {
        const { at, label } = this.#cell(op.word);
        const wake = yield describe(
          "park",
          memory,
          at,
          1,
          label,
          op.expected,
          op.timed ? TIMEOUT_MS : Infinity,
        );
        this.#learn(number, wake === TIMED_OUT ? 1 : 0);
        break;
      }
      case "rouse": {
        const { at, label } = this.#cell(op.word);
        yield describe(op.all ? "wakeAll" : "wakeOne", memory, at, 1, label);
        break;
      }
      case "await":
      case "signal":
        yield* this.#condition(op, number);
        break;
      case "complete":
        yield* op.all ? completion.completeAll() : completion.complete();
        break;
      case "completion":
        this.#learn(number, (yield* completion.wait(op.timed ? TIMEOUT_MS : Infinity)) ? 0 : 1);
        break;
      case "section": {
        const index = yield* srcu.readLock();
        yield* this.all(inside);
        yield* srcu.readUnlock(index);
        break;
      }
      default:
        yield* srcu.synchronize();
    }
  }

  *#condition(op: Of<"await" | "signal">, number: number): Task<void> {
    const { condition } = this.#things;
    const cell = this.#cell(op.word);
    yield* condition.mutex.lock();
    if (op.op === "signal") {
      yield* cell.store(1);
      yield* op.all ? condition.broadcast() : condition.signal();
    } else if ((yield* cell.load()) === 0) {
      const isWoken = yield* condition.wait(op.timed ? TIMEOUT_MS : Infinity);
      this.#learn(number, isWoken ? 0 : 1);
    }
    yield* condition.mutex.unlock();
  }
}

function outcomeOf(
  run: Execution,
  program: Program,
  { memory, cells, completion, references, registers }: Things,
): string {
  if (run.frontier.hasStopped) return "stopped";
  const { tasks } = program;
  const ends = tasks.map((_, task) => {
    if (run.pending[task] !== undefined)
      return `waits in ${(memory.words[registers - tasks.length + task] ?? 0) - 1}`;
    if (run.frontier.deaths.names.includes(`t${task}`)) return "dead";
    return (run.throwers & (1 << task)) !== 0 ? "threw" : "ended";
  });
  const count = registersOf(program);
  const learnt = Array.from(memory.words.subarray(registers, registers + count));
  const words = cells.map((cell) => cell.peek());
  return [
    ends.join(", "),
    words.join(),
    memory.words[completion.at],
    references.read(),
    learnt.join(),
  ].join(" | ");
}
