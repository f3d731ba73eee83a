/**
 * @module Layout of the first words of every machine's kernel heap: identity, panic, and the
 * records of its threads.
 *
 * Word table (index 0 is the start of the buffer; all words i32):
 *
 * | word | name | meaning | written by |
 * | --- | --- | --- | --- |
 * | 0 | MAGIC | identifies a machine | create |
 * | 1 | VERSION | layout version | create |
 * | 2 | FLAGS | bit 0: debug | create |
 * | 3 | ALERT | 0, or bits: ALERT_PANIC (panic.ts), ALERT_DEAD (reaper.ts); one load of 0 means that all is well | CAS, or, and |
 * | 4 | PANIC_RECORDS_TAKEN | how many panic records have been given out | add (death/panic.ts) |
 * | 5 | PANIC_FIRST | 1 + index of the panic record that counts, 0 while the machine runs; set before ALERT_PANIC | CAS once (death/panic.ts) |
 * | 6..7 | - | spare | |
 * | 8 | PROBE_TIME | ms timestamp (wrapping i32) of the last machine-wide probe | CAS (death/liveness.ts) |
 * | 9 | DEATHS | counts the dead agents that may be reaped; an agent that two finders declared dead at once may count twice | add (death.ts) |
 * | 10 | AGENTS_USED | ids below this have been in use at some time | CAS up (runners/agents.ts) |
 * | 11..15 | - | spare | |
 * | 16.. | AGENTS | {@link AGENT_LIMIT} records of {@link AGENT_WORDS} words, then one that belongs to no agent: {@link NO_RECORD} | runners/agents.ts |
 * | then | PANIC_RECORDS | {@link PANIC_RECORD_LIMIT} records of {@link PANIC_RECORD_WORDS} words | who took the record, before it competes for PANIC_FIRST |
 *
 * A panic record:
 *
 * | offset | name | meaning |
 * | --- | --- | --- |
 * | 0 | PANIC_CODE | negative errno |
 * | 1 | PANIC_LOCK | word index of the lock, or 0 |
 * | 2 | PANIC_AGENT | id of the agent, or -1 |
 * | 3 | PANIC_TEXT_BYTES | length of the text |
 * | 4.. | PANIC_TEXT | UTF-8, at most 512 bytes |
 *
 * An agent record:
 *
 * | offset | name | meaning | written by |
 * | --- | --- | --- | --- |
 * | 0 | STATE | generation << 2 \| AGENT_FREE, _STARTING, _LIVE or _DEAD | CAS |
 * | 1 | SECTION | first generation word of the space whose section the thread is in (shootdown.ts) | this agent |
 * | 2 | TOKENS | how many liveness waiters may still be used up by probes | agent adds, probers CAS down |
 * | 3 | INSIDE | bit 0: the thread is inside a store or a section; bit 1: a section; above: counts them (shootdown.ts) | this agent; who finds it dead |
 * | 4 | HOST_THREAD | the host's id of the thread, -1 unknown | this agent |
 * | 5 | WAITING_ON | word it blocks on now, 0 none: for diagnosis and for panic's wake | this agent |
 * | 6 | NAME_BYTES | length of the name | this agent |
 * | 7 | PROBE_AGAIN | ms timestamp before which no probe should spend a token | probers |
 * | 8..23 | NAME | UTF-8, at most 64 bytes | this agent |
 * | 24 | FINDERS | threads that are declaring this agent dead now (death.ts); not reset by a new registration | those threads |
 * | 25..28 | LIVENESS | futex words of the thread's liveness waiters, one for each generation of STATE modulo 4; their values never change | nobody |
 * | 29 | READS | the semaphore that this agent's tasks read by its reader word (0 = none): words/reader-word.ts | this agent; who finds it dead |
 * | 30, 31 | READS_TAG, READS_COUNT | its class and mode, and by how many tasks | this agent |
 * | 32.. | HELD | word index of each lock held (0 = free slot), see held-locks.ts | this agent |
 * | 288.. | HELD_TAG | class and mode of the slot beside it | this agent |
 * | 544.. | HELD_TASK | task serial, or count, of the slot beside it | this agent |
 * | 800.. | RESOURCES | pairs kind, pointer; see resources.ts | this agent; its reaper |
 * | 1824 | ASKED | when an invalidator asked the thread to let go of its section's mark, a wrapping ms timestamp, never 0; 0: nobody asks | invalidators; this agent sets 0 |
 * | 1825 | UNDO_COUNT | entries of the undo log: words/undo-log.ts | this agent |
 * | 1826 | UNDO_FULL | the lock of which the log has not all, 0 none | this agent |
 * | 1827 | UNDO_COMMITTED | the lock whose entries count no more, 0 none | this agent |
 * | 1828.. | UNDO | entries: lock, place, what was there | this agent |
 * | 2308 | RECOVERER | who finishes what this dead agent had begun, as `liveAgent` names it; 0 nobody | who finds it dead |
 * | 2309.. | OPERATIONS | what another thread finishes if this one dies: words/operations.ts | this agent; its recoverer |
 * | 2501.. | NOTICES | the same, of invalidations: notifier/notice.ts | this agent; its recoverer |
 * | 2565 | FINDS | 1 + id of the agent that this one is declaring dead now, or 0; FINDS_FIRST: it gives up that one's places (death.ts) | this agent; who finds it dead |
 */

export const MAGIC_VALUE = 0x686d6d31;
export const VERSION_VALUE = 1;

export const MAGIC = 0;
export const VERSION = 1;
export const FLAGS = 2;
export const ALERT = 3;
export const PANIC_RECORDS_TAKEN = 4;
export const PANIC_FIRST = 5;
export const PROBE_TIME = 8;
export const DEATHS = 9;
export const AGENTS_USED = 10;

export const FLAG_DEBUG = 1;

export const ALERT_PANIC = 1;
/** Some agent is dead and its resources are not all released yet. */
export const ALERT_DEAD = 2;

/** Agents (JS threads) on one machine; ids are 0 .. AGENT_LIMIT - 1. */
export const AGENT_LIMIT = 64;

export const AGENT_STATE = 0;
export const AGENT_SECTION = 1;
export const AGENT_TOKENS = 2;
export const AGENT_INSIDE = 3;
export const AGENT_HOST_THREAD = 4;
export const AGENT_WAITING_ON = 5;
export const AGENT_NAME_BYTES = 6;
export const AGENT_PROBE_AGAIN = 7;
export const AGENT_NAME = 8;
export const AGENT_NAME_WORDS = 16;
export const AGENT_FINDERS = 24;
export const AGENT_LIVENESS = 25;
export const LIVENESS_WORDS = 4;
export const AGENT_READS = 29;
export const AGENT_READS_TAG = 30;
export const AGENT_READS_COUNT = 31;
export const AGENT_HELD = 32;
export const HELD_LIMIT = 256;
export const AGENT_HELD_TAG: number = AGENT_HELD + HELD_LIMIT;
export const AGENT_HELD_TASK: number = AGENT_HELD_TAG + HELD_LIMIT;
export const AGENT_RESOURCES: number = AGENT_HELD_TASK + HELD_LIMIT;
export const RESOURCE_LIMIT = 512;
export const RESOURCE_WORDS = 2;
export const AGENT_ASKED: number = AGENT_RESOURCES + RESOURCE_LIMIT * RESOURCE_WORDS;

export const AGENT_UNDO_COUNT: number = AGENT_ASKED + 1;
export const AGENT_UNDO_FULL: number = AGENT_ASKED + 2;
export const AGENT_UNDO_COMMITTED: number = AGENT_ASKED + 3;
export const AGENT_UNDO: number = AGENT_ASKED + 4;
/** The longest change, the split of a block of 1 GiB, has some 100. */
export const UNDO_LIMIT = 160;
export const UNDO_WORDS = 3;

export const AGENT_RECOVERER: number = AGENT_UNDO + UNDO_LIMIT * UNDO_WORDS;
export const AGENT_OPERATIONS: number = AGENT_RECOVERER + 1;
export const OPERATION_LIMIT = 4;
export const OPERATION_WORDS = 48;
export const AGENT_NOTICES: number = AGENT_OPERATIONS + OPERATION_LIMIT * OPERATION_WORDS;
export const NOTICE_LIMIT = 4;
export const NOTICE_WORDS = 16;

export const AGENT_FINDS: number = AGENT_NOTICES + NOTICE_LIMIT * NOTICE_WORDS;
export const FINDS_FIRST: number = 2 ** 16;

/** A multiple of 16 words, so that two agents never share a cache line. */
export const AGENT_WORDS: number = roundUpLine(AGENT_FINDS + 1);

export const AGENTS = 16;

export const PANIC_CODE = 0;
export const PANIC_LOCK = 1;
export const PANIC_AGENT = 2;
export const PANIC_TEXT_BYTES = 3;
export const PANIC_TEXT = 4;
export const PANIC_TEXT_WORDS = 128;
/** A multiple of 4 words. */
export const PANIC_RECORD_WORDS: number = PANIC_TEXT + PANIC_TEXT_WORDS;
/** At least AGENT_LIMIT: all threads may find a reason at the same moment. */
export const PANIC_RECORD_LIMIT = 64;
export const PANIC_RECORDS: number = AGENTS + (AGENT_LIMIT + 1) * AGENT_WORDS;

/** The first word that the memory layer may use. */
export const CONTROL_WORDS: number = PANIC_RECORDS + PANIC_RECORD_LIMIT * PANIC_RECORD_WORDS;

/**
 * Low two bits of AGENT_STATE. The other bits are a generation: a compare-exchange fails if the
 * record has been reused.
 */
export const AGENT_FREE = 0;
export const AGENT_STARTING = 1;
export const AGENT_LIVE = 2;
export const AGENT_DEAD = 3;
export const AGENT_STATE_MASK = 3;

/** Bits of AGENT_INSIDE. Whoever leaves sets both to 0 and adds 1 above them, by one addition. */
export const MARK_INSIDE = 1;
export const MARK_SECTION = 2;
export const MARK_STEP = 4;

/**
 * The record of a handle that has no agent. What it writes there (the mark of a store after
 * dispose, for example) has no effect on others.
 */
export const NO_RECORD: number = AGENTS + AGENT_LIMIT * AGENT_WORDS;

/** Word index of an agent's record. */
export function agentRecord(agentId: number): number {
  return AGENTS + agentId * AGENT_WORDS;
}

function roundUpLine(words: number): number {
  return Math.ceil(words / 16) * 16;
}
