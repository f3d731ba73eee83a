import { testLayer } from "./layer.ts";

testLayer("memory");
