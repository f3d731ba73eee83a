import { testLayer } from "./layer.ts";

testLayer("hmm");
