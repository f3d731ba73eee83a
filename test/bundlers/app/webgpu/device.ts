// The Worker of the WebGPU device.
import { serveWebGpuDevice } from "hmm-ts/webgpu";

serveWebGpuDevice();
