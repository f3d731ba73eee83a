/**
 * @module devices/webgpu/pieces
 * Cuts pages that are wanted into pieces: what is copied in one section of the driver lock.
 */

/** Pages of a piece at most. */
export const PIECE_PAGES = 64;

/**
 * Ascending pages in pieces of PIECE_PAGES pages at most, which lie within `reach` pages of
 * addresses; with reach 0, runs without gaps.
 */
export function piecesOf(pages: readonly number[], reach: number): number[][] {
  const pieces: number[][] = [];
  let piece: number[] = [];
  for (const page of pages) {
    const first = piece[0] ?? page;
    const isNear = reach === 0 ? page === first + piece.length : page - first < reach;
    if (piece.length === PIECE_PAGES || (piece.length > 0 && !isNear)) {
      pieces.push(piece);
      piece = [];
    }
    piece.push(page);
  }
  if (piece.length > 0) pieces.push(piece);
  return pieces;
}
