/**
 * @module devices/webgpu/pieces
 * Cuts pages that are wanted into pieces: what one range is registered for.
 */

/**
 * Ascending pages in pieces of at most `most`, which lie within `reach` pages of addresses; with
 * reach 0, runs without gaps.
 */
export function piecesOf(pages: readonly number[], reach: number, most: number): number[][] {
  const pieces: number[][] = [];
  let piece: number[] = [];
  for (const page of pages) {
    const first = piece[0] ?? page;
    const isNear = reach === 0 ? page === first + piece.length : page - first < reach;
    if (piece.length === most || (piece.length > 0 && !isNear)) {
      pieces.push(piece);
      piece = [];
    }
    piece.push(page);
  }
  if (piece.length > 0) pieces.push(piece);
  return pieces;
}
