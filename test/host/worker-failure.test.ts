/** @module What is found out about a Worker that did not start, when the host gives no reason. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { watchConstruction, whyNotStarted } from "../../src/host/worker-failure.ts";

const TYPES: Readonly<Record<string, string>> = { "/a.js": "text/javascript", "/b": "text/html" };

test("what the host said is passed on, and nothing else is looked for", async () => {
  assert.equal(await whyNotStarted("nothing:", "no such module"), "the host said: no such module");
  assert.equal(await whyNotStarted(undefined, ""), "the host gave no reason");
});

test("else the server's answer says what is wrong", async () => {
  const server = createServer(({ url = "" }, response) => {
    const type = TYPES[url];
    response.writeHead(type === undefined ? 404 : 200, { "content-type": type ?? "text/plain" });
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const origin = `http://localhost:${(server.address() as AddressInfo).port}`;
  const why = (path: string): Promise<string> => whyNotStarted(`${origin}${path}`, "");
  assert.match(await why("/gone.js"), /gave no reason; the server answers .* with status 404$/);
  assert.match(await why("/b"), /with text\/html, which is no JavaScript$/);
  assert.match(await why("/a.js"), /the server has it: it, or a module that it imports, does not/);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  assert.match(await why("/a.js"), /a request for the URL fails: TypeError: fetch failed$/);
});

test("a constructor that throws leaves everything as it was", () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "Worker");
  assert.throws(() =>
    watchConstruction(() => {
      throw new RangeError("at once");
    }),
  );
  assert.deepEqual(Object.getOwnPropertyDescriptor(globalThis, "Worker"), before);
});
