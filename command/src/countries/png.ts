/** @module A PNG file: pixels of 24 bits, and a note of whose data it shows. */

import { crc32, deflateSync } from "node:zlib";

const SIGNATURE: readonly number[] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const CHANNELS = 3;
const BITS = 8;
/** Red, green and blue. */
const TRUE_COLOUR = 2;

/**
 * The file for `pixels`, rows from the top, three bytes a pixel. `copyright`: Latin-1, without line
 * breaks.
 */
export function encodePng(
  width: number,
  height: number,
  pixels: Uint8Array,
  copyright: string,
): Uint8Array {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, BITS);
  header.setUint8(9, TRUE_COLOUR);
  // Compression, filters and interlace: 0, the only or the plain kind.
  const rowBytes = width * CHANNELS;
  // Each row begins with its filter: 0, none.
  const rows = new Uint8Array(height * (rowBytes + 1));
  for (let row = 0; row < height; row++)
    rows.set(pixels.subarray(row * rowBytes, (row + 1) * rowBytes), row * (rowBytes + 1) + 1);
  return Buffer.concat([
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("tEXt", Buffer.from(`Copyright\0${copyright}`, "latin1")),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", new Uint8Array(0)),
  ]);
}

/** Length, name, contents, and the checksum of the name and the contents. */
function chunk(name: string, contents: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(contents.length + 12);
  bytes.writeUInt32BE(contents.length, 0);
  bytes.write(name, 4, "latin1");
  bytes.set(contents, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
  return bytes;
}
