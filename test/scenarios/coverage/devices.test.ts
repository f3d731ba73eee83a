import { testLayer } from "./layer.ts";

testLayer("devices");
