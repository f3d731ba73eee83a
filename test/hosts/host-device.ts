/** @module A Worker of the program's that serves a device, on any host. */

import { serveDevice } from "../../src/worker.ts";
import { square } from "./host-kernels.ts";

serveDevice({ kernels: { square } });
