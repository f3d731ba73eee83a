/**
 * @module devices/webgpu/wgsl/translation-text
 * How a shader finds the word of the pool for an address, and what it notes where there is none.
 *
 * Two forms. The fast one notes only that something missed, without a branch: an invocation keeps
 * the AND of the entries that it has loaded through and the OR of their addresses, and looks at
 * them when it ends. The recording one lists which accesses missed, once for each page, and notes
 * which frames were used if it is told to: that takes an atomic load with each access, and twice
 * the time.
 *
 *   W1  A missed load reads 0, from ZERO_FRAME. A missed store goes to SINK_FRAME. The host undoes
 *       such a pass.
 *   W2  A store marks its frame DIRTY, before or after it: the host looks when the pass is over.
 *   W3  In a touch pass no store reaches a page: it only finds out what is needed.
 */

import {
  DIRTY,
  FAULTS_MAX,
  FAULT_LIST,
  FAULT_WORDS,
  FLAGS,
  GPU_FRAME_SHIFT,
  GPU_READ,
  GPU_WATCHED,
  GROUPS,
  GROUPS_MAX,
  GROUP_LIST,
  GPU_WRITE,
  LEAF_ENTRIES,
  LEAF_SHIFT,
  SEEN_WORDS,
  SINK_FRAME,
  type TableLayout,
  USED,
  isLow,
  replayAt,
} from "./layout.ts";
import type { LibraryOptions } from "./library-options.ts";

function pageOf(table: TableLayout): string {
  return isLow(table) ? "p.x >> 12u" : "(p.y << 20u) | (p.x >> 12u)";
}

/** Not 0: the high word of an address, or the sum of some, is beyond the table. */
function beyond(high: string, table: TableLayout): string {
  return isLow(table) ? high : `(${high} >> 12u)`;
}

export function entryText(table: TableLayout): string {
  const leaf = `hmm_table[page >> ${LEAF_SHIFT}u]`;
  const index = table.isFlat ? "page" : `${leaf} + (page & ${LEAF_ENTRIES - 1}u)`;
  return `
fn hmm_entry(p: vec2u) -> u32 {
  let page = ${pageOf(table)};
  return hmm_table[${index}];
}`;
}

/** Index into the pool of the word at p, for loading and for storing. */
export function fastText({ isGated, table }: LibraryOptions): string {
  return `
var<private> hmm_rights: u32 = ${GPU_READ}u;
var<private> hmm_low: u32;
var<private> hmm_high: u32;
var<private> hmm_words: u32;
fn hmm_wrong() -> u32 {
  return hmm_missed | (~hmm_rights & ${GPU_READ}u) | (hmm_low & 3u) | (hmm_words >> 30u) |
    ${beyond("hmm_high", table)};
}
fn hmm_load_at(p: vec2u) -> u32 {
  let entry = hmm_entry(p);
  hmm_rights &= entry;
  hmm_low |= p.x;
  hmm_high |= p.y;
  return ${WORD_AT};
}
fn hmm_store_at(p: vec2u) -> u32 {
  let entry = hmm_entry(p);
  let bad = (~entry & ${GPU_WRITE}u) | (p.x & 3u) | ${beyond("p.y", table)};
  hmm_missed |= bad;
  let sinks = ${isGated ? GATE : "bad != 0u"};
  let frame = select(entry >> ${GPU_FRAME_SHIFT}u, ${SINK_FRAME}u, sinks);
  atomicStore(&hmm_control[${FLAGS}u + frame], ${USED | DIRTY}u);
  return (frame << 10u) | ((p.x >> 2u) & 1023u);
}`;
}

/** The word of the pool: the flags go with the two bits that are shifted out. */
const WORD_AT = "(entry + (p.x & 4095u)) >> 2u";
/** What an invocation would store may be wrong, and where. */
export const GATE = "(hmm_wrong() != 0u || hmm_fuel == 0u)";

export function recordingText({ isGated, table }: LibraryOptions): string {
  const bad = `(p.x & 3u) | ${beyond("p.y", table)}`;
  return `
fn hmm_wrong() -> u32 { return hmm_missed; }
fn hmm_note(p: vec2u, is_write: u32) {
  hmm_missed = 1u;
  atomicStore(&hmm_control[0], 1u);
  let page = (p.y << 20u) | (p.x >> 12u);
  let tag = max(((page << 1u) | is_write) + 1u, 1u); // 0: nobody has noted anything
  let seen = ${FLAGS}u + hmm_u.frames + ((page * 2654435761u) >> 19u) % ${SEEN_WORDS}u;
  if (atomicLoad(&hmm_control[seen]) == tag) { return; }
  if (atomicExchange(&hmm_control[seen], tag) == tag) { return; }
  let slot = atomicAdd(&hmm_control[1], 1u);
  if (slot >= ${FAULTS_MAX}u) { return; }
  let at = ${FAULT_LIST}u + slot * ${FAULT_WORDS}u;
  atomicStore(&hmm_control[at], p.x);
  atomicStore(&hmm_control[at + 1u], p.y);
  atomicStore(&hmm_control[at + 2u], is_write);
  atomicStore(&hmm_control[at + 3u], hmm_group);
}
fn hmm_load_at(p: vec2u) -> u32 {
  let entry = hmm_entry(p);
  if (((~entry & ${GPU_READ}u) | ${bad}) != 0u) {
    hmm_note(p, 0u);
    return (p.x >> 2u) & 1023u;
  }
  if ((hmm_u.notes_use | (entry & ${GPU_WATCHED}u)) != 0u) {
    let flags = ${FLAGS}u + (entry >> ${GPU_FRAME_SHIFT}u);
    if (atomicLoad(&hmm_control[flags]) == 0u) { atomicOr(&hmm_control[flags], ${USED}u); }
  }
  return ((entry & ~4095u) + (p.x & 4095u)) >> 2u;
}
fn hmm_store_at(p: vec2u) -> u32 {
  let entry = hmm_entry(p);
  var frame = ${SINK_FRAME}u;
  if (((~entry & ${GPU_WRITE}u) | ${bad}) != 0u) {
    hmm_note(p, 1u);
  } else {
    let flags = ${FLAGS}u + (entry >> ${GPU_FRAME_SHIFT}u);
    if (hmm_u.touch != 0u${isGated ? ` || ${GATE}` : ""}) {
      atomicOr(&hmm_control[flags], ${USED}u);
    } else {
      frame = entry >> ${GPU_FRAME_SHIFT}u;
      atomicOr(&hmm_control[flags], ${USED | DIRTY}u);
    }
  }
  return (frame << 10u) | ((p.x >> 2u) & 1023u);
}`;
}

/**
 * Which workgroup an index of a pass means; of a recording pass, of which the host can run a part
 * again, which of them have missed, or run out of fuel.
 */
export function groupsText({ isRecording, pool }: LibraryOptions): string {
  if (!isRecording) return `fn hmm_group_at(place: u32) -> u32 { return place; }`;
  return `
fn hmm_group_at(place: u32) -> u32 {
  if (hmm_u.is_replay == 0u) { return place; }
  return atomicLoad(&hmm_control[${replayAt(pool.frames)}u + place]);
}
fn hmm_note_group() {
  let seen = ${replayAt(pool.frames) - GROUPS_MAX}u + (hmm_group & ${GROUPS_MAX - 1}u);
  let tag = hmm_group + 1u;
  if (atomicLoad(&hmm_control[seen]) == tag) { return; }
  if (atomicExchange(&hmm_control[seen], tag) == tag) { return; }
  let slot = atomicAdd(&hmm_control[${GROUPS}], 1u);
  if (slot < ${GROUPS_MAX}u) { atomicStore(&hmm_control[${GROUP_LIST}u + slot], hmm_group); }
}`;
}
