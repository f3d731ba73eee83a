/** @module Users' own buffers as sections, and sections that a thread has not been given. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../src/memory/machine.ts";
import type { RamSectionHandle } from "../../src/memory/frames/ram-section.ts";
import { EBUSY, EEXIST, EINVAL, ENOMEM } from "../../src/sync/errno.ts";
import { PAGE, makeMachine, run } from "./harness.ts";

/**
 * What the tests need of the JavaScript API of WebAssembly, which Node's types leave to the DOM's.
 */
interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages64KiB: number): number;
}
interface WasmApi {
  readonly Memory: new (options: { initial: number; maximum: number; shared: true }) => WasmMemory;
}
const host: unknown = globalThis;
const { Memory } = (host as { WebAssembly: WasmApi }).WebAssembly;

function addBuffer(machine: Machine, buffer: SharedArrayBuffer, maxPages?: number): number {
  return run(machine, machine.ram.sections.add(buffer, maxPages));
}

test("a user's buffer is mapped in place: what is stored in it is read through its frames, and the other way round", () => {
  const machine = makeMachine();
  const buffer = new SharedArrayBuffer(3 * PAGE);
  const mine = new Int32Array(buffer);
  mine[1024 + 5] = 55;
  const basePfn = addBuffer(machine, buffer);
  assert.ok(basePfn > 0 && basePfn % 512 === 0);
  const section = machine.ram.sections.of(basePfn + 1);
  assert.equal(section.owned, false);
  assert.equal(section.pages, 3);
  assert.equal(section.i32[section.wordIndex(basePfn + 1) + 5], 55);
  section.i32[section.wordIndex(basePfn + 2)] = 66;
  assert.equal(mine[2048], 66);
  assert.throws(
    () => machine.ram.sections.of(basePfn + 3),
    { code: "ENXIO" },
    "the page after the last",
  );
});

test("frames of a user's buffer are counted from 0 and never freed to the machine", () => {
  const machine = makeMachine({ ramPages: 4 });
  const { ram } = machine;
  const before = ram.usage();
  const basePfn = addBuffer(machine, new SharedArrayBuffer(2 * PAGE));
  assert.deepEqual(ram.usage(), before, "a user's pages are no part of the budget");
  assert.equal(ram.refs.pageCount(basePfn), 0);
  run(machine, ram.refs.pageGet(basePfn));
  run(machine, ram.refs.pagePut(basePfn));
  assert.equal(ram.refs.pageCount(basePfn), 0);
  assert.throws(() => run(machine, ram.refs.pagePut(basePfn)), /it is free already/);
  assert.deepEqual(ram.usage(), before);
});

test("what cannot be a section is refused: no shared buffer, less than a page, a buffer that is one already, too many pages", () => {
  const machine = makeMachine();
  assert.equal(addBuffer(machine, new SharedArrayBuffer(PAGE - 1)), EINVAL);
  const unshared: unknown = new ArrayBuffer(PAGE);
  assert.equal(addBuffer(machine, unshared as SharedArrayBuffer), EINVAL);
  assert.equal(addBuffer(machine, new SharedArrayBuffer(PAGE), 2 ** 40), EINVAL);
  assert.equal(addBuffer(machine, new SharedArrayBuffer(PAGE), 1.5), EINVAL);
  const buffer = new SharedArrayBuffer(PAGE);
  const basePfn = addBuffer(machine, buffer);
  assert.equal(addBuffer(machine, buffer), EEXIST);
  assert.equal(machine.ram.sections.ofBuffer(buffer)?.basePfn, basePfn);
  assert.equal(machine.ram.sections.ofBuffer(new SharedArrayBuffer(PAGE)), undefined);
});

test("a shared WebAssembly.Memory is a section, and grows", () => {
  const machine = makeMachine();
  const { ram } = machine;
  const memory = new Memory({ initial: 1, maximum: 4, shared: true });
  const basePfn = addBuffer(machine, memory.buffer, 64);
  assert.equal(ram.sections.of(basePfn).pages, 16);
  assert.throws(() => ram.sections.of(basePfn + 16), { code: "ENXIO" });
  memory.grow(2);
  assert.equal(run(machine, ram.sections.extend(basePfn, memory.buffer)), 0);
  const section = ram.sections.of(basePfn + 47);
  section.i32[section.wordIndex(basePfn + 47)] = 4711;
  assert.equal(new Int32Array(memory.buffer)[47 * 1024], 4711);
  assert.equal(
    run(machine, ram.sections.extend(basePfn, new SharedArrayBuffer(65 * PAGE))),
    EINVAL,
    "past what was reserved",
  );
  assert.equal(
    run(machine, ram.sections.extend(basePfn, new SharedArrayBuffer(PAGE))),
    EINVAL,
    "shorter than it was",
  );
  assert.equal(
    run(machine, ram.sections.extend(12_345, new SharedArrayBuffer(PAGE))),
    EINVAL,
    "no section",
  );
});

test("a growable buffer has numbers for all that it may become, and pages for what it is", () => {
  const machine = makeMachine();
  const buffer = new SharedArrayBuffer(PAGE, { maxByteLength: 8 * PAGE });
  const basePfn = addBuffer(machine, buffer);
  assert.equal(machine.ram.sections.of(basePfn).pages, 1);
  buffer.grow(8 * PAGE);
  assert.throws(
    () => machine.ram.sections.of(basePfn + 1),
    { code: "ENXIO" },
    "nobody told the machine yet",
  );
  assert.equal(run(machine, machine.ram.sections.extend(basePfn, buffer)), 0);
  assert.equal(machine.ram.sections.of(basePfn + 7).pages, 8);
});

test("a section is removed when nothing of it is in use, its numbers then name nothing, and others take other numbers", () => {
  const machine = makeMachine();
  const { ram } = machine;
  const buffer = new SharedArrayBuffer(2 * PAGE);
  const basePfn = addBuffer(machine, buffer);
  run(machine, ram.refs.pageGet(basePfn + 1));
  assert.equal(run(machine, ram.sections.remove(basePfn)), EBUSY);
  run(machine, ram.refs.pagePut(basePfn + 1));
  assert.equal(run(machine, ram.sections.remove(basePfn)), 0);
  assert.equal(run(machine, ram.sections.remove(basePfn)), EINVAL);
  assert.throws(() => ram.sections.of(basePfn), { code: "ENXIO" });
  const again = addBuffer(machine, buffer);
  assert.ok(again > basePfn, "numbers are not used again at once");
  assert.equal(run(machine, ram.sections.remove(0)), EINVAL, "the page of zeros stays");
  assert.equal(run(machine, ram.sections.remove(512)), EINVAL, "so does the machine's own RAM");
});

test("too many sections are ENOMEM, and numbers come round after all have been used", () => {
  const machine = makeMachine();
  const { ram } = machine;
  const bases: number[] = [];
  let last = 0;
  while ((last = addBuffer(machine, new SharedArrayBuffer(PAGE))) > 0) bases.push(last);
  assert.equal(last, ENOMEM);
  assert.equal(bases.length, 126, "128 less the page of zeros and the machine's RAM");
  for (const base of bases) assert.equal(run(machine, ram.sections.remove(base)), 0);
  const size = 2 ** 21; // pages: 8 GiB of numbers each
  const rounds: number[] = [];
  for (let i = 0; i < 20; i++) {
    const base = addBuffer(machine, new SharedArrayBuffer(PAGE), size);
    rounds.push(base);
    assert.equal(run(machine, ram.sections.remove(base)), 0);
  }
  assert.ok(rounds.every((base) => base > 0));
  assert.ok(new Set(rounds).size < rounds.length, "64 GiB of numbers have been round");
});

test("a section that is gone hides none that has some of its numbers now", () => {
  const machine = makeMachine();
  const { sections } = machine.ram;
  const numbers = (pages: number): number => {
    const base = addBuffer(machine, new SharedArrayBuffer(PAGE), pages);
    assert.equal(run(machine, sections.remove(base)), 0);
    return base;
  };
  const size = 2 ** 21;
  const buffer = new SharedArrayBuffer(4 * 512 * PAGE);
  const gone = addBuffer(machine, buffer);
  const other = Machine.attach(machine.handle, { name: "other" });
  assert.equal(run(machine, sections.remove(gone)), 0);
  let end = gone + 4 * 512;
  while (end + size <= 2 ** 24) end = numbers(size) + size;
  numbers(2 ** 24 - end);
  // Numbers have come round. The other thread is given the second section only.
  assert.equal(addBuffer(machine, new SharedArrayBuffer(PAGE)), gone);
  const second = addBuffer(machine, new SharedArrayBuffer(PAGE));
  assert.equal(second, gone + 512);
  assert.ok(other.ram.sections.adopt(sections.of(second).handle));
  const basesOf = ({ ram }: Machine): number[] =>
    ram.sections.handles.map(({ basePfn }) => basePfn).filter((base) => base >= gone);
  assert.deepEqual(basesOf(other), [second]);
  assert.deepEqual(basesOf(machine), [gone, second]);
  other.detach();
});

test("a thread that was not given a section asks for it, once, and says so where it cannot be had", () => {
  const machine = makeMachine();
  const other = Machine.attach(machine.handle, { name: "other" });
  const sent: RamSectionHandle[] = [];
  machine.ram.sections.onSection = (handle) => sent.push(handle);
  const basePfn = addBuffer(machine, new SharedArrayBuffer(2 * PAGE));
  assert.equal(sent.length, 1);

  assert.throws(() => other.ram.sections.of(basePfn), {
    code: "ENXIO",
    message: /a buffer that another thread mapped has not arrived/,
  });
  assert.equal(other.ram.sections.isHere(basePfn), false);
  let asked = 0;
  other.ram.sections.receive = (isHere) => {
    assert.equal(isHere(), false);
    asked++;
    for (const handle of sent) assert.equal(other.ram.sections.adopt(handle), true, "it is news");
    assert.equal(isHere(), true);
  };
  assert.equal(other.ram.sections.of(basePfn + 1).basePfn, basePfn);
  assert.equal(other.ram.sections.of(basePfn).basePfn, basePfn);
  assert.equal(asked, 1);
  assert.equal(other.ram.sections.isHere(basePfn), true);
  for (const handle of sent)
    assert.equal(other.ram.sections.adopt(handle), false, "it is no news any more");

  // Removed here: what the other thread remembers of it is no longer believed there.
  assert.equal(run(machine, machine.ram.sections.remove(basePfn)), 0);
  assert.throws(() => other.ram.sections.of(basePfn), {
    code: "ENXIO",
    message: /no section has it/,
  });
  const [stale] = sent;
  assert.ok(stale !== undefined);
  other.ram.sections.adopt(stale);
  assert.throws(
    () => other.ram.sections.of(basePfn),
    { code: "ENXIO" },
    "a handle that came late is ignored",
  );
  other.detach();
});

test("a handle that arrives while its record is freed and used again for a longer section hides no other section", () => {
  const machine = makeMachine();
  const other = Machine.attach(machine.handle, { name: "other" });
  const sent: RamSectionHandle[] = [];
  machine.ram.sections.onSection = (handle) => sent.push(handle);
  const first = addBuffer(machine, new SharedArrayBuffer(PAGE));
  const neighbour = addBuffer(machine, new SharedArrayBuffer(PAGE));
  assert.equal(neighbour, first + 512, "in the granule behind it");
  const [handle, ofNeighbour] = sent;
  assert.ok(handle !== undefined && ofNeighbour !== undefined);
  assert.equal(other.ram.sections.adopt(ofNeighbour), true);
  let isReused = false;
  // The first thread is as fast as can be: it does both while the other one compares the serials.
  const racing = {
    ...handle,
    get serial(): number {
      if (isReused) return handle.serial;
      isReused = true;
      assert.equal(run(machine, machine.ram.sections.remove(first)), 0);
      addBuffer(machine, new SharedArrayBuffer(PAGE), 2048);
      assert.equal(sent.at(-1)?.recordAt, handle.recordAt, "the record is another section's");
      return handle.serial;
    },
  };
  other.ram.sections.adopt(racing);
  assert.ok(isReused);
  assert.equal(other.ram.sections.of(neighbour).basePfn, neighbour);
  assert.throws(() => other.ram.sections.of(first), { code: "ENXIO" });
  other.detach();
});

test("a thread that was not given a section counts its frames all the same, together with those who have it", () => {
  const machine = makeMachine();
  const other = Machine.attach(machine.handle, { name: "other" });
  const basePfn = addBuffer(machine, new SharedArrayBuffer(3 * PAGE));
  assert.equal(other.ram.sections.pagesAt(basePfn), 3);
  run(other, other.ram.refs.pageGet(basePfn + 2));
  const note = run(machine, machine.heap.allocWords(512));
  machine.ram.refs.pinRunNoted(basePfn, 1, note, 0);
  assert.equal(machine.ram.refs.pageCount(basePfn + 1), 2, "of all its frames");
  assert.equal(run(other, other.ram.refs.pagePinned(basePfn + 2)), true);
  run(other, other.ram.refs.unpinNoted(basePfn, note, note + 1, note + 2));
  assert.equal(run(other, other.ram.sections.remove(basePfn)), EBUSY);
  run(machine, machine.ram.refs.pagePut(basePfn + 2));
  assert.throws(() => run(other, other.ram.refs.pagePut(basePfn)), /it is free already/);
  assert.throws(() => run(other, other.ram.refs.pageGet(basePfn + 3)), {
    code: "ENXIO",
    message: /no section has it/,
  });
  other.detach();
});

test("a growable buffer that grew elsewhere needs no message: a thread has all of it", () => {
  const machine = makeMachine();
  const buffer = new SharedArrayBuffer(PAGE, { maxByteLength: 4 * PAGE });
  const basePfn = addBuffer(machine, buffer);
  const other = Machine.attach(machine.handle, { name: "other" });
  buffer.grow(4 * PAGE);
  assert.throws(
    () => other.ram.sections.of(basePfn + 3),
    { code: "ENXIO" },
    "nobody told the machine yet",
  );
  assert.equal(run(machine, machine.ram.sections.extend(basePfn, buffer)), 0);
  assert.equal(other.ram.sections.isHere(basePfn), true);
  assert.equal(other.ram.sections.of(basePfn + 3).pages, 4);
  other.detach();
});

test("a thread learns of an extended section in the same way", () => {
  const machine = makeMachine();
  const sent: RamSectionHandle[] = [];
  machine.ram.sections.onSection = (handle) => sent.push(handle);
  const memory = new Memory({ initial: 1, maximum: 2, shared: true });
  const basePfn = addBuffer(machine, memory.buffer, 32);
  const other = Machine.attach(machine.handle, { name: "other" });
  assert.equal(other.ram.sections.of(basePfn).pages, 16);
  memory.grow(1);
  assert.equal(run(machine, machine.ram.sections.extend(basePfn, memory.buffer)), 0);
  other.ram.sections.receive = () => sent.forEach((handle) => other.ram.sections.adopt(handle));
  assert.equal(other.ram.sections.of(basePfn + 31).pages, 32);
  other.detach();
});
