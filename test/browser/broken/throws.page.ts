/** @module A page that the harness must report: of its three tests one passes. */

import { check, pageTest } from "../page-cases.ts";

pageTest("passes", () => check(true, "true is true"));
pageTest("throws", () => check(false, "false is not true"));
pageTest("never ends", () => new Promise(() => {}), 50);
