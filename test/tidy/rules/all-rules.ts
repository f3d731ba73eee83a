/** @module The list of all tidy rules; a rule that is not here does not run. */

import type { Rule } from "../rule.ts";
import { atomics } from "./atomics.ts";
import { bareAnnouncements } from "./bare-announcements.ts";
import { bannedWords } from "./banned-words.ts";
import { changelog } from "./changelog.ts";
import { citations } from "./citations.ts";
import { columns } from "./columns.ts";
import { cycles } from "./cycles.ts";
import { deadExports } from "./dead-exports.ts";
import { driversOnly } from "./drivers-only.ts";
import { layering } from "./layering.ts";
import { links } from "./links.ts";
import { moduleHead } from "./module-head.ts";
import { names } from "./names.ts";
import { nonNull } from "./non-null.ts";
import { publicMembers } from "./public-members.ts";
import { publicDocs } from "./public-docs.ts";
import { purity } from "./purity.ts";
import { rooms } from "./rooms.ts";
import { separateEntries } from "./separate-entries.ts";
import { sizes } from "./sizes.ts";
import { suppressions } from "./suppressions.ts";
import { trackedFiles } from "./tracked-files.ts";
import { workerEntries } from "./worker-entries.ts";

export const allRules: readonly Rule[] = [
  layering,
  driversOnly,
  rooms,
  cycles,
  atomics,
  bareAnnouncements,
  purity,
  sizes,
  columns,
  bannedWords,
  names,
  moduleHead,
  publicDocs,
  publicMembers,
  separateEntries,
  deadExports,
  nonNull,
  suppressions,
  trackedFiles,
  workerEntries,
  links,
  citations,
  changelog,
];
