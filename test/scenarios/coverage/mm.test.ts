import { testLayer } from "./layer.ts";

testLayer("mm");
