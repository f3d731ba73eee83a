import { testLayer } from "./layer.ts";

testLayer("space");
