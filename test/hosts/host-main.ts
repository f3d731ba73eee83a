/**
 * @module The host test as a program of its own: prints the host's version and how each case went,
 * as JSON. It ends by itself, unless something that it has left behind keeps its process alive.
 */

import { runHostCases } from "./host-cases.ts";

const { bun, deno, node } = process.versions;
const reports = await runHostCases();
console.log(JSON.stringify({ version: bun ?? deno ?? node, reports }));
