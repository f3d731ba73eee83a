/**
 * @module devices/webgpu/wgsl/layout
 * What host and shader agree on: the page table of the GPU, the control block of a pass, the
 * parameters. library.ts is the shader's side.
 *
 * Page table, one storage buffer of words: flat, by page, while no page on the device is beyond
 * 16 GiB, its last word 0 for ever; else deep:
 *
 *     directory   2^18 words   by page >> 14: where the leaf of these 64 MiB begins
 *     leaf 0      2^14 words   no page has an entry here: for all of the directory at first
 *     leaf 1 ...  2^14 words   entry of a page: frame << 12 | flags, 0: not on the device
 *
 * So a translation is one load, or two, and no branch. Frame numbers count pages of the pool: an
 * entry is the byte of the pool at which the page begins, with flags in the place of the offset.
 */

/** Which form the table has, and how many words. */
export interface TableLayout {
  readonly isFlat: boolean;
  readonly words: number;
}

/** Entries of a flat table that has none for addresses beyond 4 GiB: the low word is enough. */
export const LOW_WORD_ENTRIES: number = 2 ** 20;

/** Whether no page of the table has an address beyond 4 GiB. */
export function isLow({ isFlat, words }: TableLayout): boolean {
  return isFlat && words <= LOW_WORD_ENTRIES;
}

/** How the frames of the pool lie in buffers: `bufferFrames` in each, in the last what is left. */
export interface PoolShape {
  readonly frames: number;
  /** All of them in one buffer, or a power of two. */
  readonly bufferFrames: number;
  /**
   * The shader's arrays have the buffers' length, not a fixed one: GPUs that check indices by
   * themselves spare a comparison then. No index into the pool is beyond: each comes of an entry.
   * Nor is one into a table of LOW_WORD_ENTRIES, for the first 2^32 bytes; any other table keeps
   * its fixed size.
   */
  readonly isUnsized?: boolean;
}

/** Frames of each buffer. */
export function framesByBuffer({ frames, bufferFrames }: PoolShape): number[] {
  const counts: number[] = [];
  for (let left = frames; left > 0; left -= bufferFrames) counts.push(Math.min(left, bufferFrames));
  return counts;
}

export const LEAF_SHIFT = 14;
export const LEAF_ENTRIES: number = 2 ** LEAF_SHIFT;
export const DIRECTORY_WORDS: number = 2 ** 18;

/** The page may be loaded from; and stored to. */
export const GPU_READ = 1;
export const GPU_WRITE = 2;
/** A recording pass is to note whether the page is used. A fast pass sees no such entry. */
export const GPU_WATCHED = 4;
export const GPU_FRAME_SHIFT = 12;
/** Frames, those of rows included, have numbers below this. */
export const GPU_FRAMES_MAX: number = 2 ** (32 - GPU_FRAME_SHIFT);

/** Frame 0 is what a missed load reads: zeros. Frame 1 takes what a missed store writes. */
export const ZERO_FRAME = 0;
export const SINK_FRAME = 1;
export const FIRST_FRAME = 2;

/**
 * Control block, one storage buffer of words, zero before each pass:
 *
 *     0       MISSED   not 0: some access missed; the pass is undone
 *     1       FAULTS   faults that were noted, also those beyond the list
 *     2       SPENT    not 0: some invocation ran out of fuel
 *     3       GROUPS   workgroups that missed and were noted, also those beyond their list
 *     16      list of faults, FAULT_WORDS each: address (2), access, workgroup
 *     behind it GROUPS_MAX words, the list of those workgroups
 *     FLAGS   a word for each frame: USED, DIRTY
 *     behind them SEEN_WORDS, by which a fault is noted once, and GROUPS_MAX, by which a workgroup
 *     is; at the end GROUPS_MAX words that the host writes: the workgroups that a pass is to run
 */
export const MISSED = 0;
export const FAULTS = 1;
export const SPENT = 2;
export const GROUPS = 3;
export const FAULT_LIST = 16;
export const FAULT_WORDS = 4;
export const FAULTS_MAX = 4096;
export const GROUP_LIST: number = FAULT_LIST + FAULT_WORDS * FAULTS_MAX;
/** Workgroups that run again alone, at most: a power of two. */
export const GROUPS_MAX = 4096;
export const FLAGS: number = GROUP_LIST + GROUPS_MAX;
export const SEEN_WORDS: number = 2 ** 13;

/** Of a frame: some invocation has used it (noted where that is asked for), or stored to it. */
export const USED = 1;
export const DIRTY = 2;

/** Where the workgroups stand that a pass is to run; what is before them is zero at its begin. */
export function replayAt(frames: number): number {
  return FLAGS + frames + SEEN_WORDS + GROUPS_MAX;
}

export function controlWords(frames: number): number {
  return replayAt(frames) + GROUPS_MAX;
}

/** Arguments of a dispatch, 16 bytes each: low and high word, the number as f32, 0. */
export const ARGUMENTS_MAX = 32;
/** first, end, fuel, touch; groups (3), frames; window (2), notes use, is replay. */
export const PARAMETER_HEAD_WORDS = 12;
export const PARAMETER_WORDS: number = PARAMETER_HEAD_WORDS + ARGUMENTS_MAX * 4;

/** The bind group of the library; the user's bindings are in the others. */
export const LIBRARY_GROUP = 3;

/** Bindings of the library's group: parameters, table, first buffer of the pool, control block. */
export const PARAMETERS_BINDING = 0;
export const TABLE_BINDING = 1;
export const CONTROL_BINDING = 3;
/** Storage buffers of the library, beside those of the pool. */
export const OTHER_STORAGE_BUFFERS = 2;

/** Of a buffer of the pool: the others come behind what there is with one. */
export function poolBinding(buffer: number): number {
  return buffer === 0 ? 2 : 3 + buffer;
}

/** A chunk's workgroups stand in rows of so many. */
export const ROW_SHIFT = 15;
