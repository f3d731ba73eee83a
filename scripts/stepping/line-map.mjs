/**
 * @module Source maps by line: the TypeScript line of each line of a derived module, through the
 * source map of the module from which it was derived. One segment for each line is enough for the
 * checker's reports.
 */

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const values = new Map(Array.from(digits, (digit, value) => [digit, value]));

/**
 * @typedef {{ version: number, sources: string[], mappings: string, names: string[], sourceRoot?:
 * string, sourcesContent?: string[] }} SourceMap
 */

/**
 * The numbers of one segment.
 * @param {string} segment
 */
function decoded(segment) {
  const numbers = [];
  let number = 0;
  let shift = 0;
  for (const digit of segment) {
    const value = values.get(digit) ?? 0;
    number += (value & 31) << shift;
    shift += 5;
    if ((value & 32) !== 0) continue;
    numbers.push((number & 1) === 1 ? -(number >>> 1) : number >>> 1);
    number = 0;
    shift = 0;
  }
  return numbers;
}

/** @param {number} number */
function encoded(number) {
  let rest = number < 0 ? (-number << 1) | 1 : number << 1;
  let text = "";
  do {
    const digit = rest & 31;
    rest >>>= 5;
    text += digits[digit | (rest > 0 ? 32 : 0)];
  } while (rest > 0);
  return text;
}

/**
 * By line of the built module: the source line of its first segment, -1 for none.
 * @param {SourceMap} map
 * @returns {number[]}
 */
function sourceLines(map) {
  let source = 0;
  let line = 0;
  return map.mappings.split(";").map((row) => {
    let first = -1;
    for (const segment of row.split(",")) {
      const [, bySource, byLine] = decoded(segment);
      if (byLine === undefined) continue;
      source += bySource ?? 0;
      line += byLine;
      if (first < 0) first = line;
    }
    return first;
  });
}

/**
 * @param {SourceMap} map Of the module that was rewritten; it has one source.
 * @param {readonly number[]} builtLines Of each line of the derived module, the line of the built
 *   one.
 * @returns {SourceMap}
 */
export function composed(map, builtLines) {
  const lines = sourceLines(map);
  let latest = 0;
  const rows = builtLines.map((builtLine) => {
    const line = lines[builtLine] ?? -1;
    if (line < 0) return "";
    const row = `AA${encoded(line - latest)}A`;
    latest = line;
    return row;
  });
  return { ...map, names: [], mappings: rows.join(";") };
}
