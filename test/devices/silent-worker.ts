/** @module A Worker that lives, and does not serve a device. */

import { parentPort } from "node:worker_threads";

parentPort?.on("message", () => {});
