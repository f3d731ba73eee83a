/**
 * @module Mirrors: one hmm for each address space, register and unregister, a mirror's code, and
 * the code that a thread lacks.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Hmm } from "../../src/hmm/hmm-struct.ts";
import { missingMirrorOps, registerMirrorOps } from "../../src/hmm/mirror/mirror-ops.ts";
import { hmmMirrorRegister, hmmMirrorUnregister } from "../../src/hmm/mirror/mirror.ts";
import { hmmRangeUnregister } from "../../src/hmm/range/range.ts";
import { hmmStatistics } from "../../src/hmm/mirror/statistics.ts";
import { doMunmap } from "../../src/mm/calls/munmap.ts";
import { PAGE_BYTES } from "../../src/mm/pte.ts";
import { EINVAL } from "../../src/sync/errno.ts";
import { FakeDevice, Harness, withMmapWrite } from "./harness.ts";

test("all mirrors of an address space share one hmm, and the last one frees it", () => {
  const harness = new Harness();
  assert.equal(harness.mm.hmm, 0);
  const first = FakeDevice.registered(harness);
  const at = harness.mm.hmm;
  assert.notEqual(at, 0);
  const second = FakeDevice.registered(harness);
  assert.equal(harness.mm.hmm, at);
  assert.equal(Hmm.at(harness.machine.memory, at).refs.read(), 2);
  first.close();
  assert.equal(harness.mm.hmm, at);
  second.close();
  assert.equal(harness.mm.hmm, 0);
  const third = FakeDevice.registered(harness);
  assert.notEqual(harness.mm.hmm, 0);
  third.close();
  harness.leave();
});

test("every mirror is called for every change, until it is unregistered", () => {
  const harness = new Harness();
  harness.map(16, 8);
  const first = FakeDevice.registered(harness);
  const second = FakeDevice.registered(harness);
  harness.must(doMunmap(harness.machine, harness.mm, 16 * PAGE_BYTES, 2 * PAGE_BYTES));
  first.unregister();
  harness.must(doMunmap(harness.machine, harness.mm, 18 * PAGE_BYTES, PAGE_BYTES));
  const called = { call: "invalidate", startPage: 16, endPage: 18, blockable: true };
  assert.deepEqual(first.calls, [called]);
  assert.deepEqual(second.calls, [called, { ...called, startPage: 18, endPage: 19 }]);
  first.close();
  second.close();
  harness.leave();
});

test("unregister does not call release; the end of the address space does, once for each mirror", () => {
  const harness = new Harness();
  const gone = FakeDevice.registered(harness);
  const first = FakeDevice.registered(harness);
  const second = FakeDevice.registered(harness);
  gone.unregister();
  harness.end();
  assert.deepEqual(
    [gone, first, second].map(({ calls }) => calls.map(({ call }) => call)),
    [[], ["release"], ["release"]],
  );
  for (const device of [gone, first, second]) device.close();
  harness.leave();
});

test("a mirror outlives the address space; its unregister touches no freed memory", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  harness.end();
  const accounting = harness.machine.heap.accounting().map(({ name }) => name);
  assert.ok(accounting.includes("mm"), "the hmm's grab keeps the mm's memory");
  device.close();
  harness.leave();
});

test("hmmMirrorRegister without the mmap lock, or with it only for reading, is an assertion", () => {
  const harness = new Harness();
  const device = new FakeDevice(harness);
  assert.throws(() => harness.run(hmmMirrorRegister(device.mirror, harness.mm)), /mmapLock/);
  assert.throws(
    () => harness.reading(() => hmmMirrorRegister(device.mirror, harness.mm)),
    /mmapLock/,
  );
  assert.equal(harness.mm.hmm, 0);
  device.close();
  harness.leave();
});

test("a mirror of another machine is EINVAL", () => {
  const harness = new Harness();
  const other = new Harness();
  const device = new FakeDevice(other);
  const register = withMmapWrite(harness.mm, () => hmmMirrorRegister(device.mirror, harness.mm));
  assert.equal(harness.run(register), EINVAL);
  assert.equal(device.tryRegister(), 0, "it is as before");
  device.close();
  harness.leave();
  other.leave();
});

test("registering twice, unregistering what never was, and unregistering twice are assertions that name the mirror", () => {
  const harness = new Harness();
  const device = new FakeDevice(harness);
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
  harness.leave();
});

test("unregistering a mirror with a range on it is an assertion, and the mirror stays", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  const other = FakeDevice.registered(harness);
  const range = harness.registered(device, 16, 4);
  assert.throws(() => device.unregister(), /it has 1 registered ranges/);
  other.close();
  harness.map(16, 4);
  harness.must(doMunmap(harness.machine, harness.mm, 16 * PAGE_BYTES, PAGE_BYTES));
  assert.equal(device.calls.length, 1, "still called");
  harness.run(hmmRangeUnregister(range));
  harness.freeRange(range);
  device.close();
  harness.leave();
});

test("unregistering under a lock is an assertion", () => {
  const harness = new Harness();
  const device = FakeDevice.registered(harness);
  assert.throws(
    () => harness.run(withMmapWrite(harness.mm, () => hmmMirrorUnregister(device.mirror))),
    /hmmMirrorUnregister while holding mmapLock.*waits for call-backs/,
  );
  device.close();
  harness.leave();
});

test("to register an id without code in this thread throws", () => {
  const harness = new Harness();
  const device = new FakeDevice(harness, 12_345);
  assert.throws(
    () => device.tryRegister(),
    /12345: this thread has not loaded them; import the driver's module/,
  );
  assert.deepEqual(harness.run(missingMirrorOps(harness.machine)), []);
  device.close();
  harness.leave();
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

test("too many drivers in use at once is ENOMEM, until one is not used any more", () => {
  const harness = new Harness();
  const noop = {
    *invalidate(): Generator<never, number> {
      return 0;
    },
  };
  const devices: FakeDevice[] = [];
  for (let i = 0; i <= 32; i++)
    devices.push(new FakeDevice(harness, registerMirrorOps(`crowd ${i}`, noop)));
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
  assert.equal(harness.run(hmmStatistics(harness.machine, harness.mm)), undefined);
  harness.leave();
});
