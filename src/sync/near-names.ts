/** @module Names that are similar to an unknown name: for the error message that suggests them. */

const SHOWN = 3;

/**
 * Up to three of `names` that are similar to `wanted`: first those that contain it, then those with
 * a small edit distance.
 */
export function nearNames(wanted: string, names: readonly string[]): string[] {
  const word = wanted.toLowerCase();
  const limit = Math.max(2, Math.floor(word.length / 3));
  return names
    .map((name) => ({
      name,
      distance: name.toLowerCase().includes(word) ? 0 : editDistance(word, name.toLowerCase()),
    }))
    .filter(({ distance }) => distance <= limit)
    .toSorted((a, b) => a.distance - b.distance || a.name.length - b.name.length)
    .slice(0, SHOWN)
    .map(({ name }) => name);
}

/**
 * The edit distance (Levenshtein): how many letters must be inserted, deleted or replaced.
 */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
