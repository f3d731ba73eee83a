/**
 * @module What every execution begins with: the memory's words as the scenario's set-up left them,
 * and an agent record for each task, since each plays a thread of its own. Agent 0 is left to
 * whoever set up.
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
  agentRecord,
} from "../../sync/control-block.ts";
import { nextHeldSlot } from "../../sync/lockdep/held-locks.ts";
import type { Mode, SharedMemory } from "../../sync/shared-memory.ts";
import { storeText } from "../../sync/shared-text.ts";

export class StartingState {
  readonly memory: SharedMemory;
  /** The words when an execution begins. */
  readonly snapshot: Int32Array;
  /** Words of the control block that an execution can change. */
  readonly #lowWords: number;
  /** As whom, and how, the thread that explores uses the memory itself. */
  readonly #ownAgent: number;
  readonly #ownMode: Mode;
  /** Of each task: where its held table is free, and its mark of being inside a store. */
  readonly heldNext: Int32Array;
  readonly insideMark: Int32Array;

  /** Once the scenario has set up. `names`: of the tasks. */
  constructor(memory: SharedMemory, names: readonly string[]) {
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
    this.snapshot = Int32Array.from(memory.words);
    this.#lowWords = agentRecord(memory.words[AGENTS_USED]);
  }

  /** The value of a word when an execution begins. */
  valueOf(word: number): number {
    return this.snapshot[word] ?? 0;
  }

  /** The words are as they were. */
  putBack(): void {
    const { words } = this.memory;
    words.set(this.snapshot.subarray(0, this.#lowWords));
    words.set(this.snapshot.subarray(CONTROL_WORDS), CONTROL_WORDS);
    if (words.length > this.snapshot.length) words.fill(0, this.snapshot.length);
  }

  /** All that an execution can have changed, as it is now. */
  copy(): Int32Array {
    const { words } = this.memory;
    const copied = new Int32Array(this.#lowWords + Math.max(words.length - CONTROL_WORDS, 0));
    copied.set(words.subarray(0, this.#lowWords));
    copied.set(words.subarray(CONTROL_WORDS), this.#lowWords);
    return copied;
  }

  /** The first word that is not as in the copy, and what it was there; undefined if none is. */
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

  /** The exploration is over: the thread that explores is itself again. */
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
