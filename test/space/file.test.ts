/** @module Mappings of files: by path and by FileHandle, shared and private, changed by others. */

import assert from "node:assert/strict";
import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { mkdtempSync, rmSync, chmodSync, linkSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { HmmError, SegmentationFault } from "../../src/index.ts";
import { PAGE, makeSpace, withSpace } from "./fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "hmm-file-"));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
/** A new file: byte i holds the number of its page plus i. */
function makeFile(lengthBytes: number): string {
  const path = join(folder, `file-${files++}`);
  writeFileSync(
    path,
    Uint8Array.from({ length: lengthBytes }, (_, i) => (i >> 12) + i),
  );
  return path;
}

const code = (expected: string) => (error: unknown) =>
  error instanceof HmmError && error.code === expected;
const bus = (error: unknown): boolean =>
  error instanceof SegmentationFault && error.signal === "SIGBUS";

test("a file's bytes, by path, by URL and by handle, through one cache", () =>
  withSpace(async (space) => {
    const path = makeFile(10 * PAGE + 100);
    const bytes = new Uint8Array(readFileSync(path));
    const p = space.mmapSync(11 * PAGE, { source: path, shared: true });
    const into = new Uint8Array(bytes.length);
    space.readSync(p, into);
    assert.deepEqual(into, bytes);
    assert.equal(space.u8.load(p + 10 * PAGE + 100), 0);
    const other = join(folder, `link-${files}`);
    linkSync(path, other);
    const q = space.mmapSync(PAGE, { source: pathToFileURL(other) });
    const handle = await open(path, "r+");
    const r = space.mmapSync(PAGE, { source: handle, offsetBytes: PAGE });
    space.u8.store(p, 200);
    space.u8.store(p + PAGE, 201);
    assert.equal(space.u8.load(q), 200);
    assert.equal(space.u8.load(r), 201);
    space.msyncSync(p, PAGE);
    const stored = readFileSync(path);
    assert.equal(stored[0], 200);
    assert.equal(stored[PAGE], bytes[PAGE]);
    for (const at of [p, q, r]) space.munmapSync(at, 11 * PAGE);
    assert.equal(readFileSync(path)[PAGE], 201);
    assert.equal(readFileSync(path).length, bytes.length);
    await handle.close();
  }));

test("a handle that was opened for reading cannot be mapped for shared stores", () =>
  withSpace(async (space) => {
    const path = makeFile(PAGE);
    const handle = await open(path, "r");
    assert.throws(() => space.mmapSync(PAGE, { source: handle, shared: true }), code("EACCES"));
    const p = space.mmapSync(PAGE, { source: handle, shared: true, protection: "read" });
    assert.equal(space.u8.load(p + 5), 5);
    space.munmapSync(p, PAGE);
    await handle.close();
  }));

test("what others do to the length of a file", () =>
  withSpace((space) => {
    const path = makeFile(3 * PAGE);
    const p = space.mmapSync(8 * PAGE, { source: path, shared: true });
    assert.throws(() => space.u8.load(p + 4 * PAGE), bus);
    appendFileSync(path, new Uint8Array(2 * PAGE).fill(7));
    assert.equal(space.u8.load(p + 4 * PAGE), 7);
    space.u8.store(p, 1);
    space.u8.store(p + 4 * PAGE, 8);
    truncateSync(path, PAGE);
    space.msyncSync(p, 8 * PAGE);
    assert.equal(readFileSync(path).length, PAGE, "pages that were cut off are not written");
    assert.equal(readFileSync(path)[0], 1);
    assert.throws(() => space.u8.load(p + 4 * PAGE), bus);
    // A read that comes back short finds it out as well.
    const cut = makeFile(64 * PAGE);
    const q = space.mmapSync(64 * PAGE, { source: cut });
    assert.equal(space.u8.load(q + 1), 1);
    truncateSync(cut, 40 * PAGE);
    assert.throws(() => space.u8.load(q + 50 * PAGE), bus);
    assert.equal(space.u8.load(q + 30 * PAGE), 30);
  }));

test("files that cannot be mapped", () =>
  withSpace((space) => {
    const nothing = join(folder, "nothing");
    assert.throws(() => space.mmapSync(PAGE, { source: nothing }), code("ENOENT"));
    assert.throws(
      () => space.mmapSync(PAGE, { source: folder }),
      (error) => ["EISDIR", "ENODEV"].some((one) => code(one)(error)),
    );
    const fd = openSync(makeFile(PAGE), "r");
    closeSync(fd);
    assert.throws(() => space.mmapSync(PAGE, { source: { fd } }), code("EBADF"));
    for (const wrong of [-1, 1.5, 2 ** 40])
      assert.throws(() => space.mmapSync(PAGE, { source: { fd: wrong } }), code("EINVAL"));
    for (const flags of ["w", "a"]) {
      const writing = openSync(makeFile(PAGE), flags);
      for (const shared of [false, true])
        assert.throws(
          () => space.mmapSync(PAGE, { source: { fd: writing }, shared }),
          code("EACCES"),
        );
      closeSync(writing);
    }
  }));

test("a handle that is closed early costs only what was stored", async () => {
  const path = makeFile(4 * PAGE);
  for (const shared of [false, true]) {
    const space = makeSpace();
    const handle = await open(path, "r+");
    const p = space.mmapSync(4 * PAGE, { source: handle, shared });
    assert.equal(space.u8.load(p + 1), 1);
    if (!shared) space.u8.store(p, 9); // a copy of its own
    await handle.close();
    space.msyncSync(p, 4 * PAGE);
    space.munmapSync(p, 2 * PAGE);
    space.munmapSync(p, 4 * PAGE);
    await space.dispose();
  }
  await withSpace(async (space) => {
    const handle = await open(path, "r+");
    const p = space.mmapSync(PAGE, { source: handle, shared: true });
    space.u8.store(p, 9);
    await handle.close();
    assert.throws(() => space.msyncSync(p, PAGE), code("EBADF"));
    assert.throws(() => space.munmapSync(p, PAGE), code("EBADF"));
    const other = await open(path, "r+");
    const q = space.mmapSync(PAGE, { source: other, shared: true });
    assert.equal(space.u8.load(q), 9);
    space.munmapSync(q, PAGE);
    assert.equal(readFileSync(path)[0], 9);
    await other.close();
  });
});

test("the end of the space writes back", async () => {
  const path = makeFile(2 * PAGE);
  const space = makeSpace();
  const p = space.mmapSync(2 * PAGE, { source: path, shared: true });
  space.u8.store(p + PAGE, 99);
  await space.dispose();
  assert.equal(readFileSync(path)[PAGE], 99);
  chmodSync(path, 0o444);
});
