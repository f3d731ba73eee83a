import { testLayer } from "./layer.ts";

testLayer("sync");
