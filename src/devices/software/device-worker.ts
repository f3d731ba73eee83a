/**
 * @module devices/software/device-worker
 * The module of the Workers that a software device starts by itself, where the program gives it
 * none. They import a kernel's module by its URL.
 */

import { serveDevice } from "./serve-device.ts";

serveDevice();
