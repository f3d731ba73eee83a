/**
 * @module Mirrors: one hmm for each address space, register and unregister, the code behind a
 * mirror, and what a thread lacks.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Hmm } from "../../src/hmm/hmm-struct.ts";
import { missingMirrorOps, registerMirrorOps } from "../../src/hmm/mirror-ops.ts";
import { hmmMirrorRegister, hmmMirrorUnregister } from "../../src/hmm/mirror.ts";
import { hmmRangeUnregister } from "../../src/hmm/range.ts";
import { hmmStatistics } from "../../src/hmm/statistics.ts";
import { doMunmap } from "../../src/mm/mmap.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { EINVAL } from "../../src/sync/errno.ts";
import { FakeDevice, Rig, withMmapWrite } from "./rig.ts";

test("all mirrors of an address space share one hmm, and the last one takes it away", () => {
  const rig = new Rig();
  assert.equal(rig.mm.hmm, 0);
  const first = FakeDevice.registered(rig);
  const at = rig.mm.hmm;
  assert.notEqual(at, 0);
  const second = FakeDevice.registered(rig);
  assert.equal(rig.mm.hmm, at);
  assert.equal(Hmm.at(rig.machine.memory, at).refs.read(), 2);
  first.close();
  assert.equal(rig.mm.hmm, at);
  second.close();
  assert.equal(rig.mm.hmm, 0);
  const third = FakeDevice.registered(rig);
  assert.notEqual(rig.mm.hmm, 0);
  third.close();
  rig.leave();
});

test("every mirror hears every change, until it is unregistered", () => {
  const rig = new Rig();
  rig.map(16, 8);
  const first = FakeDevice.registered(rig);
  const second = FakeDevice.registered(rig);
  rig.must(doMunmap(rig.machine, rig.mm, 16 * PAGE_BYTES, 2 * PAGE_BYTES));
  first.unregister();
  rig.must(doMunmap(rig.machine, rig.mm, 18 * PAGE_BYTES, PAGE_BYTES));
  const heard = { call: "invalidate", startPage: 16, endPage: 18, blockable: true };
  assert.deepEqual(first.heard, [heard]);
  assert.deepEqual(second.heard, [heard, { ...heard, startPage: 18, endPage: 19 }]);
  first.close();
  second.close();
  rig.leave();
});

test("unregister does not call release; the end of the address space does, once for each mirror", () => {
  const rig = new Rig();
  const gone = FakeDevice.registered(rig);
  const first = FakeDevice.registered(rig);
  const second = FakeDevice.registered(rig);
  gone.unregister();
  rig.end();
  assert.deepEqual(
    [gone, first, second].map(({ heard }) => heard.map(({ call }) => call)),
    [[], ["release"], ["release"]],
  );
  for (const device of [gone, first, second]) device.close();
  rig.leave();
});

test("a mirror outlives the address space; its unregister touches no freed memory", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  rig.end();
  const books = rig.machine.heap.accounting().map(({ name }) => name);
  assert.ok(books.includes("mm"), "the hmm's grab keeps the mm's memory");
  device.close();
  rig.leave();
});

test("hmmMirrorRegister without the mmap lock, or with it only for reading, is an assertion", () => {
  const rig = new Rig();
  const device = new FakeDevice(rig);
  assert.throws(() => rig.run(hmmMirrorRegister(device.mirror, rig.mm)), /mmapLock/);
  assert.throws(() => rig.reading(() => hmmMirrorRegister(device.mirror, rig.mm)), /mmapLock/);
  assert.equal(rig.mm.hmm, 0);
  device.close();
  rig.leave();
});

test("a mirror of another machine is EINVAL", () => {
  const rig = new Rig();
  const other = new Rig();
  const device = new FakeDevice(other);
  const register = withMmapWrite(rig.mm, () => hmmMirrorRegister(device.mirror, rig.mm));
  assert.equal(rig.run(register), EINVAL);
  assert.equal(device.tryRegister(), 0, "it is as before");
  device.close();
  rig.leave();
  other.leave();
});

test("registering twice, unregistering what never was, and unregistering twice are assertions that name the mirror", () => {
  const rig = new Rig();
  const device = new FakeDevice(rig);
  assert.throws(
    () => device.unregister(),
    /hmm mirror at 0x.*never registered.*look at what register returns/,
  );
  assert.equal(device.tryRegister(), 0);
  assert.throws(() => device.tryRegister(), /hmm mirror at 0x.*not a fresh mirror/);
  device.unregister();
  assert.throws(() => device.unregister(), /hmm mirror at 0x.*unregistered already/);
  assert.throws(() => device.tryRegister(), /call init before each register/);
  device.mirror.init(device.mirror.record.opsId);
  assert.equal(device.tryRegister(), 0);
  device.close();
  rig.leave();
});

test("unregistering a mirror with a range on it is an assertion, and the mirror stays", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  const other = FakeDevice.registered(rig);
  const range = rig.registered(device, 16, 4);
  assert.throws(() => device.unregister(), /it has 1 registered ranges/);
  other.close();
  rig.map(16, 4);
  rig.must(doMunmap(rig.machine, rig.mm, 16 * PAGE_BYTES, PAGE_BYTES));
  assert.equal(device.heard.length, 1, "still told");
  rig.run(hmmRangeUnregister(range));
  rig.freeRange(range);
  device.close();
  rig.leave();
});

test("unregistering under a lock is an assertion", () => {
  const rig = new Rig();
  const device = FakeDevice.registered(rig);
  assert.throws(
    () => rig.run(withMmapWrite(rig.mm, () => hmmMirrorUnregister(device.mirror))),
    /hmmMirrorUnregister while holding mmapLock.*waits for call-backs/,
  );
  device.close();
  rig.leave();
});

test("an id without code in this thread is told at register", () => {
  const rig = new Rig();
  const device = new FakeDevice(rig, 12_345);
  assert.throws(
    () => device.tryRegister(),
    /12345: this thread has not loaded them; import the driver's module/,
  );
  assert.deepEqual(rig.run(missingMirrorOps(rig.machine)), []);
  device.close();
  rig.leave();
});

test("names of mirror operations: one id each, the same name again replaces the code, bad names are refused", () => {
  const noop = {
    *invalidate(): Generator<never, number> {
      return 0;
    },
  };
  const id = registerMirrorOps("mirror.test a", noop);
  assert.equal(registerMirrorOps("mirror.test a", noop), id);
  assert.notEqual(registerMirrorOps("mirror.test b", noop), id);
  for (const name of ["", "x".repeat(65), "naïve", "line\nbreak"]) {
    assert.throws(() => registerMirrorOps(name, noop), /1 to 64 ASCII characters/);
  }
});

test("too many different drivers in use at once is ENOMEM, and ends when one leaves", () => {
  const rig = new Rig();
  const noop = {
    *invalidate(): Generator<never, number> {
      return 0;
    },
  };
  const devices: FakeDevice[] = [];
  for (let i = 0; i <= 32; i++)
    devices.push(new FakeDevice(rig, registerMirrorOps(`crowd ${i}`, noop)));
  const last = devices.pop();
  assert.ok(last !== undefined);
  assert.deepEqual(
    devices.map((device) => device.tryRegister()),
    devices.map(() => 0),
  );
  assert.equal(last.tryRegister(), -12);
  devices.pop()?.close();
  assert.equal(last.tryRegister(), 0);
  for (const device of [...devices, last]) device.close();
  assert.equal(rig.run(hmmStatistics(rig.machine, rig.mm)), undefined);
  rig.leave();
});
