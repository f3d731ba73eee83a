/** @module Imported first by a process that records which mutants it reaches. */

import { listen } from "./reach.mjs";

listen();
