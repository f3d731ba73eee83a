/**
 * @module A page that its server has not isolated: everything loads, and what needs shared memory
 * says which headers to send.
 */

import { AddressSpace, type AddressSpaceHandle } from "../../src/index.ts";
import { check, checkEqual, pageTest } from "./page-cases.ts";
import { errorOf } from "./peers.ts";

pageTest("the page is not isolated, and has no SharedArrayBuffer", () => {
  checkEqual(crossOriginIsolated, false, "crossOriginIsolated");
  checkEqual(typeof SharedArrayBuffer, "undefined", "SharedArrayBuffer");
});

declare const fetch: (url: string) => Promise<{ json(): Promise<unknown> }>;

/** Not for pages: the command, and what runs as a Worker. */
const NOT_FOR_PAGES = /^src\/cli\/|-worker(?:\.joined)?\.js$/;

pageTest(
  "every module that a page may load is loaded without a bundler, even here",
  async (note) => {
    const all = (await (await fetch("/modules.json")).json()) as readonly string[];
    const paths = all.filter((path) => !NOT_FOR_PAGES.test(path));
    check(
      paths.includes("src/index.js") && paths.length > 100,
      `the list is too short: ${paths.length} modules`,
    );
    for (const path of paths) {
      const loaded: unknown = await import(`/${path}`);
      check(typeof loaded === "object", `${path} is no module`);
    }
    note(`${paths.length} modules`);
    // It names a package. A module that names one of Node's own would be loaded, and refused aloud.
    const command: string = "/command/src/load-seconds.js";
    let error = "";
    await import(command).catch((thrown: unknown) => (error = String(thrown)));
    check(
      error !== "",
      "the command's module, which needs a package, was loaded: this test notices nothing",
    );
  },
);

pageTest("each way to an address space names the two headers", async () => {
  const handle = {} as AddressSpaceHandle;
  const ways: readonly (() => unknown)[] = [
    () => AddressSpace.create(),
    () => AddressSpace.createSync(),
    () => AddressSpace.attach(handle),
    () => AddressSpace.attachSync(handle),
  ];
  for (const way of ways) {
    const { code, message } = await errorOf(way);
    checkEqual(code, "ENOSYS", message);
    for (const words of [
      "Cross-Origin-Opener-Policy: same-origin",
      "Cross-Origin-Embedder-Policy: require-corp",
    ]) {
      check(message.includes(words), `"${words}" is not in "${message}"`);
    }
  }
});
