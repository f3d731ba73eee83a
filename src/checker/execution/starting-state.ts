/**
 * @module The state at the beginning of every execution: the memory's words as the scenario's
 * set-up left them, and an agent record for each task, because each runs as a thread of its own.
 * Agent 0 is the thread that ran the set-up.
 *
 * A harness knows which words the tasks cannot have written ({@link knowUntouched}): they are not
 * restored. With each step offered by the primitives themselves (`spelledOut`) tasks allocate where
 * the set-up does, and all is restored.
 */

import { selectAgent } from "../../sync/runners/agents.ts";
import {
  AGENTS_USED,
  AGENT_INSIDE,
  AGENT_LIVE,
  AGENT_NAME,
  AGENT_NAME_BYTES,
  AGENT_NAME_WORDS,
  AGENT_STATE,
  CONTROL_WORDS,
  PANIC_RECORDS,
  PANIC_RECORDS_TAKEN,
  PANIC_RECORD_LIMIT,
  PANIC_RECORD_WORDS,
  agentRecord,
} from "../../sync/control-block.ts";
import { nextHeldSlot } from "../../sync/lockdep/held-locks.ts";
import type { WordSpan } from "../../memory/heap/arenas.ts";
import type { Mode, SharedMemory } from "../../sync/shared-memory.ts";
import { storeText } from "../../sync/shared-text.ts";

/** Called when a set-up is over: returns what returns the spans not written since the last call. */
type WatchUntouched = () => () => readonly WordSpan[];

const watchers = new WeakMap<SharedMemory, WatchUntouched>();
/** Whose executions have used a memory last. */
const users = new WeakMap<SharedMemory, StartingState>();

/** `watch` tells which words of the memory explored tasks have not written. */
export function knowUntouched(memory: SharedMemory, watch: WatchUntouched): void {
  watchers.set(memory, watch);
}

export class StartingState {
  readonly memory: SharedMemory;
  /** The words when an execution begins. */
  readonly snapshot: Int32Array;
  /** The number of words of the control block that an execution can change. */
  readonly #lowWords: number;
  /** The agent and the mode with which the exploring thread itself uses the memory. */
  readonly #ownAgent: number;
  readonly #ownMode: Mode;
  /** For each task: the free slot of its held table, and its INSIDE mark. */
  readonly heldNext: Int32Array;
  readonly insideMark: Int32Array;
  readonly #untouched: (() => readonly WordSpan[]) | undefined;

  /** Call it after the scenario's set-up. `names`: those of the tasks. */
  constructor(memory: SharedMemory, names: readonly string[], isSpelledOut: boolean) {
    this.memory = memory;
    this.#ownAgent = memory.agentId;
    this.#ownMode = memory.mode;
    const { record } = memory;
    this.heldNext = new Int32Array(names.length);
    this.insideMark = new Int32Array(names.length);
    for (const [task, name] of names.entries()) this.#addAgent(task, name);
    memory.words[AGENTS_USED] = Math.max(memory.words[AGENTS_USED]!, names.length + 1);
    memory.record = record;
    memory.refresh();
    this.#lowWords = agentRecord(memory.words[AGENTS_USED]);
    this.snapshot = snapshotOf(memory.words, this.#lowWords);
    this.#untouched = isSpelledOut ? undefined : watchers.get(memory)?.();
  }

  /** The value of a word when an execution begins. */
  valueOf(word: number): number {
    return this.snapshot[word] ?? 0;
  }

  /** Restores the words. */
  putBack(): void {
    const { words } = this.memory;
    // Beyond the low words, but hardly ever used.
    const takenRecords = Math.min(words[PANIC_RECORDS_TAKEN]!, PANIC_RECORD_LIMIT);
    words.fill(0, PANIC_RECORDS, PANIC_RECORDS + takenRecords * PANIC_RECORD_WORDS);
    words.set(this.snapshot.subarray(0, this.#lowWords));
    let at = CONTROL_WORDS;
    for (const { start, end } of this.#spansUntouched()) {
      if (start > at) words.set(this.snapshot.subarray(at, start), at);
      at = end;
    }
    words.set(this.snapshot.subarray(at), at);
    if (words.length > this.snapshot.length) words.fill(0, this.snapshot.length);
  }

  #spansUntouched(): readonly WordSpan[] {
    const { memory } = this;
    const spans = this.#untouched?.() ?? [];
    if (users.get(memory) === this) return spans;
    users.set(memory, this);
    return []; // others have used the memory since
  }

  /** A copy of all words that an execution can have changed. */
  copy(): Int32Array {
    const { words } = this.memory;
    const copied = new Int32Array(this.#lowWords + Math.max(words.length - CONTROL_WORDS, 0));
    copied.set(words.subarray(0, this.#lowWords));
    copied.set(words.subarray(CONTROL_WORDS), this.#lowWords);
    return copied;
  }

  /** The first word that differs from the copy, and its value there; undefined if none does. */
  differenceFrom(
    copied: Int32Array,
  ): { readonly word: number; readonly before: number } | undefined {
    const { words } = this.memory;
    const gap = CONTROL_WORDS - this.#lowWords;
    for (let at = 0; at < copied.length; at++) {
      const word = at < this.#lowWords ? at : at + gap;
      if (words[word] !== copied[at]) return { word, before: copied[at]! };
    }
    return undefined;
  }

  /** The exploration is over: the exploring thread gets its own agent and mode back. */
  leave(): void {
    this.memory.mode = this.#ownMode;
    if (this.#ownAgent >= 0) selectAgent(this.memory, this.#ownAgent);
  }

  #addAgent(task: number, name: string): void {
    const { memory } = this;
    const record = agentRecord(task + 1);
    memory.words[record + AGENT_STATE] = AGENT_LIVE;
    memory.words[record + AGENT_NAME_BYTES] = storeText(
      memory,
      record + AGENT_NAME,
      AGENT_NAME_WORDS,
      name,
    );
    memory.record = record;
    this.heldNext[task] = nextHeldSlot(memory);
    this.insideMark[task] = memory.words[record + AGENT_INSIDE]!;
  }
}

/**
 * A copy of the words. The records of agents that no task has, most of a small memory, are zeros,
 * as in every new array: so the host need not commit their pages, which a short search would feel.
 */
function snapshotOf(words: Int32Array, lowWords: number): Int32Array {
  const copied = new Int32Array(words.length);
  copied.set(words.subarray(0, lowWords));
  copied.set(words.subarray(CONTROL_WORDS), CONTROL_WORDS);
  return copied;
}
