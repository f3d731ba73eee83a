// An import map does not reach Workers: they import by URL.
import { serveDevice } from "./node_modules/hmm-ts/dist/one-file/worker.js";
import { cube } from "./cube-kernel.js";
import { square } from "./square-kernel.js";

serveDevice({ kernels: { square, cube } });
