import { testLayer } from "./layer.ts";

testLayer("mmu");
