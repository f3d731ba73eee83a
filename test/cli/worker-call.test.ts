/** Calls to Workers: values both ways, and every way not to get an answer. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { callWorker } from "../../command/src/worker-call.ts";
import type { WorkerCall } from "../../command/src/worker-call.ts";
import type { CalledInput } from "./called-worker.ts";

function call(deed: CalledInput["deed"], onReport?: (value: string) => void): WorkerCall<unknown> {
  return callWorker(new URL("./called-worker.js", import.meta.url), { deed }, onReport);
}

test("a call ends with its answer, and messages arrive in turn", async () => {
  assert.equal(await call("answer").result, false);
  const echo = call("echo", (report) => {
    assert.equal(report, "ready");
    echo.send(1);
    echo.send([2]);
  });
  assert.deepEqual(await echo.result, [1, [2]]);
});

test("a call that throws or leaves rejects with what happened (twin)", async () => {
  await assert.rejects(call("throw").result, {
    name: "RangeError",
    message: "thrown in the Worker",
  });
  await assert.rejects(call("leave").result, /called-worker\.js ended with 3 and no answer/);
});
