import { test } from "node:test";
import assert from "node:assert/strict";
import { registerAgent, unregisterAgent } from "../../src/sync/agents.ts";
import { CONTROL_WORDS } from "../../src/sync/control-block.ts";
import { Mutex } from "../../src/sync/mutex.ts";
import { RwSem } from "../../src/sync/rwsem.ts";
import { Srcu } from "../../src/sync/srcu.ts";
import { runAsync } from "../../src/sync/run-async.ts";
import { runBlocking } from "../../src/sync/run-blocking.ts";
import { SharedMemory } from "../../src/sync/shared-memory.ts";
test("smoke", async () => {
  const memory = SharedMemory.create({ initialBytes: (CONTROL_WORDS + 100) * 4 });
  registerAgent(memory, { name: "main" });
  const m = new Mutex(memory, CONTROL_WORDS); m.init();
  const r = new RwSem(memory, CONTROL_WORDS + 1); r.init();
  const s = new Srcu(memory, CONTROL_WORDS + 8); s.init();
  function* t() { yield* m.lock(); yield* m.unlock(); yield* r.downRead(); yield* r.upRead(); yield* r.downWrite(); yield* r.downgradeWrite(); yield* r.upRead();
    const i = yield* s.readLock(); yield* s.readUnlock(i); yield* s.synchronize(); return 7; }
  assert.equal(runBlocking(memory, t()), 7);
  assert.equal(await runAsync(memory, t()), 7);
  unregisterAgent(memory);
});
