/** @module The Worker of the page's WebGPU device. */

import { serveWebGpuDevice } from "hmm-ts/webgpu";

serveWebGpuDevice();
