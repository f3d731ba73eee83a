// A thread of the device: the kernels that it can run.
import { serveDevice } from "hmm-ts/worker";
import { cube } from "./cube-kernel.js";
import { square } from "./square-kernel.js";

serveDevice({ kernels: { square, cube } });
