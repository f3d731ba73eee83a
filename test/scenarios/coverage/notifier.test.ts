import { testLayer } from "./layer.ts";

testLayer("notifier");
