/**
 * @module What the file job keeps in the address space beside the file, byte by byte.
 *
 *     entropies   f64 for each block, in bits a byte
 *     counts      for each of the 256 bytes: u32 how often it occurs, u32 how often that has
 *                 gone beyond 2^32
 */

/** Bytes of a block: the last one of a file may have fewer. */
export const BLOCK_BYTES = 65_536;
export const BYTE_VALUES = 256;
/** Bytes of one byte's counter. */
export const COUNTER_BYTES = 8;
export const ENTROPY_BYTES = 8;

/** Blocks of a file. */
export function blocksOf(lengthBytes: number): number {
  return Math.ceil(lengthBytes / BLOCK_BYTES);
}
