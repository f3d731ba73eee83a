/** @module Imported first by a process that is asked what it reaches. */

import { listen } from "./reach.mjs";

listen();
