/** @module All of this group, with what each task runs: what docs/EXPLORED.md is made of. */

import type { Covered } from "./covered.ts";
import { deathsAlone } from "./deaths/alone.ts";
import { deathsBesideKernels } from "./deaths/device-kernels.ts";
import { deathsInDeviceLives } from "./deaths/device-lives.ts";
import { deathsWithClaims } from "./deaths/claims.ts";
import { deathsWithFilePages } from "./deaths/file-pages.ts";
import { deathsWithInsertedPages } from "./deaths/inserted.ts";
import { deathsInGrowing } from "./deaths/growing.ts";
import { deathsOfDeviceThreads } from "./deaths/devices.ts";
import { heirs } from "./deaths/heirs.ts";
import { memoryHeirs } from "./deaths/memory-heirs.ts";
import { mirrorHeirs } from "./deaths/mirror-heirs.ts";
import { deathsInForks } from "./deaths/forks.ts";
import { deathsWithRows } from "./deaths/rows.ts";
import { deathsOfGrownBuffers } from "./deaths/grown-buffers.ts";
import { deathsInDiscards } from "./deaths/discards.ts";
import { heirsOfMaking } from "./deaths/making.ts";
import { deathsInHugeChanges } from "./deaths/huge-changes.ts";
import { deathsInHugeMoves } from "./deaths/huge-moves.ts";
import { deathsOfLeaving } from "./deaths/leaving.ts";
import { deathsWithExclusivePages } from "./deaths/exclusive.ts";
import { deathsWithFirstMirrors } from "./deaths/first-mirrors.ts";
import { deathsInReleases } from "./deaths/releases.ts";
import { deathsWithMappers } from "./deaths/mappers.ts";
import { deathsWithSourceParts } from "./deaths/source-parts.ts";
import { deathsWithMirrors } from "./deaths/mirrors.ts";
import { deathsInMoves } from "./deaths/moves.ts";
import { orphans } from "./deaths/orphans.ts";
import { deathsInInvalidations } from "./deaths/invalidations.ts";
import { deathsOfOwners } from "./deaths/owners.ts";
import { deathsWithPins } from "./deaths/pins.ts";
import { deathsOfReaders } from "./deaths/readers.ts";
import { deathsWithSharedMemory } from "./deaths/shared-mappings.ts";
import { deathsWithTables } from "./deaths/tables.ts";
import { deathsInToldInvalidations } from "./deaths/told.ts";
import { deathsOfViewers } from "./deaths/viewers.ts";
import { deathsBesideWebGpu } from "./deaths/webgpu.ts";
import { deathsInWebGpuLives } from "./deaths/webgpu-lives.ts";
import { deathsOfWriters } from "./deaths/writers.ts";
import { deathsWithRuns } from "./deaths/runs.ts";
import { deathsInSections } from "./deaths/sections.ts";
import { deviceAccesses } from "./devices/accesses.ts";
import { deviceAdvice } from "./devices/advice.ts";
import { deviceBuffersAgain } from "./devices/buffer-again.ts";
import { deviceCommands } from "./devices/commands.ts";
import { dispatches } from "./devices/dispatch.ts";
import { items } from "./devices/items.ts";
import { joining } from "./devices/joining.ts";
import { kernelRaces } from "./devices/kernel-races.ts";
import { lives } from "./devices/lives.ts";
import { serviceOwners } from "./devices/owners.ts";
import { devicesWithoutMemory } from "./devices/no-memory.ts";
import { otherDevices } from "./devices/other-device.ts";
import { ownPages } from "./devices/own-pages.ts";
import { webGpuChanges } from "./devices/webgpu-changes.ts";
import { webGpuAlone } from "./devices/webgpu-alone.ts";
import { webGpuCommands } from "./devices/webgpu-commands.ts";
import { webGpuPrivate } from "./devices/webgpu-private.ts";
import { webGpuWarm } from "./devices/webgpu-warm.ts";
import { webGpuChunks } from "./devices/webgpu.ts";
import { rounds } from "./devices/rounds.ts";
import { deviceServices } from "./devices/service.ts";
import { awaitedPages } from "./hmm/awaited-pages.ts";
import { copies } from "./hmm/copies.ts";
import { dma } from "./hmm/dma.ts";
import { exclusiveRange } from "./hmm/exclusive-range.ts";
import { largePages } from "./hmm/large-pages.ts";
import { driverNotifiers } from "./hmm/driver-notifiers.ts";
import { driverCalls } from "./hmm/driver-calls.ts";
import { inFlight } from "./hmm/in-flight.ts";
import { replacedFrames } from "./hmm/replaced.ts";
import { rangeTree } from "./hmm/range-tree.ts";
import { pinnedInPlace } from "./mm/pinned-in-place.ts";
import { buffersNotHere } from "./mm/buffer-not-here.ts";
import { copiesOvertaken } from "./mm/copy-overtaken.ts";
import { exclusiveRows } from "./mm/exclusive-rows.ts";
import { exclusiveTaken } from "./mm/exclusive-taken.ts";
import { filesOvertaken } from "./mm/file-overtaken.ts";
import { hugeAlone } from "./mm/huge-alone.ts";
import { hugeCalls } from "./mm/huge-calls.ts";
import { hugeEnds } from "./mm/huge-ends.ts";
import { hugePages } from "./mm/huge-pages.ts";
import { hugeTracks } from "./mm/huge-tracks.ts";
import { witnessedHugePages } from "./mm/huge-witnessed.ts";
import { hugeSteps } from "./mm/huge-steps.ts";
import { hugeIsolation } from "./mm/huge-isolation.ts";
import { hugeSplits } from "./mm/huge-splits.ts";
import { memoryUse } from "./mm/memory-use.ts";
import { untouchedView } from "./mm/untouched-view.ts";
import { manyInvalidations } from "./hmm/many-invalidations.ts";
import { mirrorsBesideEachOther } from "./hmm/mirrors.ts";
import { hmmWithoutMemory } from "./hmm/no-memory.ts";
import { hmmPairs } from "./hmm/pairs.ts";
import { allocators } from "./memory/allocators.ts";
import { deviceMemories } from "./memory/device-memory.ts";
import { freeLists } from "./memory/free-lists.ts";
import { rows } from "./memory/rows.ts";
import { sections } from "./memory/sections.ts";
import { setUpObjects } from "./memory/set-up-objects.ts";
import { shortages } from "./memory/shortage.ts";
import { usedUpHeaps } from "./memory/used-up.ts";
import { pageWords } from "./mmu/page-words.ts";
import { records } from "./mmu/records.ts";
import { storeSections } from "./mmu/store-sections.ts";
import { wide } from "./mmu/wide.ts";
import { widths } from "./mmu/widths.ts";
import { accesses } from "./mm/accesses.ts";
import { exclusiveAlone } from "./mm/exclusive-alone.ts";
import { sharedAround } from "./mm/shared-around.ts";
import { fileAround } from "./mm/file-around.ts";
import { firstFaults } from "./mm/first-faults.ts";
import { heldCopies } from "./mm/held-copies.ts";
import { leaves } from "./mm/leaves.ts";
import { copiesOnWrite } from "./mm/copy-on-write.ts";
import { pinsOfPages } from "./mm/pins.ts";
import { migrationsAlone } from "./mm/migrate-alone.ts";
import { leftMigrations } from "./mm/migrate-left.ts";
import { migrationsBack } from "./mm/migrate-back.ts";
import { migrationsWithoutRoom } from "./mm/migrate-full.ts";
import { migrationsOfRows } from "./mm/migrate-rows.ts";
import { migrationsOfStreams } from "./mm/migrate-streams.ts";
import { besideMigrationsBack } from "./mm/migrate-beside-back.ts";
import { deathsOfMigrations } from "./mm/migrate-deaths.ts";
import { besideDeaths } from "./mm/migrate-other-deaths.ts";
import { migrationsBesideDevices } from "./mm/migrate-devices.ts";
import { migrations } from "./mm/migrations.ts";
import { files } from "./mm/files.ts";
import { grownFiles } from "./mm/file-grown.ts";
import { mmWithoutMemory } from "./mm/no-memory.ts";
import { pinAttempts } from "./mm/pin-attempts.ts";
import { fileAdvice } from "./mm/file-advice.ts";
import { buffersAgain } from "./mm/buffer-again.ts";
import { tablesAlone } from "./mm/tables-alone.ts";
import { hugeWithoutMemory } from "./mm/no-memory-huge.ts";
import { movesWithoutMemory } from "./mm/no-memory-moves.ts";
import { mmPairs } from "./mm/pairs.ts";
import { protocols } from "./mm/protocols.ts";
import { servedFiles } from "./mm/served-files.ts";
import { filesAlone } from "./mm/file-alone.ts";
import { devicesOfFiles } from "./mm/file-devices.ts";
import { foundAgain } from "./mm/found-again.ts";
import { fileRuns } from "./mm/file-runs.ts";
import { fileViews } from "./mm/file-views.ts";
import { serverDeaths } from "./mm/server-deaths.ts";
import { advices } from "./mm/advices.ts";
import { toldReuse } from "./mm/told-reuse.ts";
import { sourceParts } from "./mm/source-parts.ts";
import { sourceWaits } from "./mm/source-waits.ts";
import { sourceSizes } from "./mm/source-sizes.ts";
import { transferDeaths } from "./mm/transfer-deaths.ts";
import { filesWithoutMemory } from "./mm/no-memory-files.ts";
import { openings, serving } from "./mm/serving.ts";
import { sharedSources } from "./mm/shared-source.ts";
import { watchedViews } from "./mm/watched-views.ts";
import { witnessedCalls } from "./mm/witnessed.ts";
import { wholeLives } from "./mm/whole-lives.ts";
import { deathsBesideListeners } from "./notifier/beside-deaths.ts";
import { listeners } from "./notifier/listeners.ts";
import { refusedRecoverers } from "./notifier/refused-recoverers.ts";
import { severalListeners } from "./notifier/several.ts";
import { bulkCopies } from "./space/copies.ts";
import { failures } from "./space/failures.ts";
import { spacesWithoutMemory } from "./space/no-memory.ts";
import { spaceOperations } from "./space/operations.ts";
import { mappedSources } from "./space/sources.ts";
import { spaces } from "./space/spaces.ts";
import { views } from "./space/views.ts";
import { asShipped } from "./sync/as-shipped.ts";
import { deadHolders } from "./sync/dead-holders.ts";
import { foundDead } from "./sync/found-dead.ts";
import { gracePeriods } from "./sync/grace-periods.ts";
import { joinings } from "./sync/joining.ts";
import { lifetimes } from "./sync/lifetimes.ts";
import { liveness } from "./sync/liveness.ts";
import { locks } from "./sync/locks.ts";
import { heldTables } from "./sync/held-table.ts";
import { readerWords } from "./sync/reader-words.ts";
import { sectionsAsked } from "./sync/sections.ts";
import { recoveredThreads } from "./sync/recovered.ts";
import { spelledOut } from "./sync/spelled-out.ts";
import { stopping } from "./sync/stopping.ts";
import { semaphorePhases } from "./sync/phases.ts";
import { waits } from "./sync/waiting.ts";

export const covered: readonly Covered[] = [
  ...locks,
  ...waits,
  ...lifetimes,
  ...spelledOut,
  ...asShipped,
  ...gracePeriods,
  ...joinings,
  ...liveness,
  ...semaphorePhases,
  ...readerWords,
  ...heldTables,
  ...recoveredThreads,
  ...sectionsAsked,
  ...foundDead,
  ...deadHolders,
  ...stopping,
  ...allocators,
  ...sections,
  ...freeLists,
  ...deviceMemories,
  ...rows,
  ...usedUpHeaps,
  ...shortages,
  ...setUpObjects,
  ...widths,
  ...wide,
  ...pageWords,
  ...records,
  ...storeSections,
  ...listeners,
  ...severalListeners,
  ...deathsBesideListeners,
  ...refusedRecoverers,
  ...migrations,
  ...migrationsBesideDevices,
  ...migrationsAlone,
  ...leftMigrations,
  ...migrationsBack,
  ...besideMigrationsBack,
  ...migrationsWithoutRoom,
  ...migrationsOfRows,
  ...migrationsOfStreams,
  ...pinsOfPages,
  ...deathsOfMigrations,
  ...besideDeaths,
  ...mmPairs,
  ...protocols,
  ...accesses,
  ...leaves,
  ...firstFaults,
  ...sharedAround,
  ...fileAround,
  ...exclusiveAlone,
  ...sharedSources,
  ...files,
  ...grownFiles,
  ...servedFiles,
  ...filesAlone,
  ...fileViews,
  ...devicesOfFiles,
  ...fileAdvice,
  ...serving,
  ...filesWithoutMemory,
  ...transferDeaths,
  ...sourceSizes,
  ...sourceParts,
  ...sourceWaits,
  ...foundAgain,
  ...fileRuns,
  ...serverDeaths,
  ...openings,
  ...copiesOnWrite,
  ...heldCopies,
  ...toldReuse,
  ...advices,
  ...watchedViews,
  ...wholeLives,
  ...mmWithoutMemory,
  ...movesWithoutMemory,
  ...hugeWithoutMemory,
  ...tablesAlone,
  ...buffersAgain,
  ...pinAttempts,
  ...witnessedCalls,
  ...hmmPairs,
  awaitedPages,
  largePages,
  exclusiveRange,
  ...dma,
  ...copies,
  ...replacedFrames,
  ...inFlight,
  ...rangeTree,
  ...untouchedView,
  ...hugePages,
  ...buffersNotHere,
  ...copiesOvertaken,
  ...exclusiveRows,
  ...exclusiveTaken,
  ...filesOvertaken,
  ...hugeAlone,
  ...hugeCalls,
  ...hugeEnds,
  ...memoryUse,
  ...hugeIsolation,
  ...hugeSplits,
  ...hugeSteps,
  ...hugeTracks,
  ...witnessedHugePages,
  ...pinnedInPlace,
  ...manyInvalidations,
  ...driverCalls,
  ...hmmWithoutMemory,
  ...mirrorsBesideEachOther,
  ...driverNotifiers,
  ...spaces,
  ...spaceOperations,
  ...bulkCopies,
  ...views,
  ...failures,
  ...mappedSources,
  ...spacesWithoutMemory,
  ...deviceServices,
  ...deviceAccesses,
  ...kernelRaces,
  ...deviceCommands,
  ...deviceAdvice,
  ...deviceBuffersAgain,
  ...dispatches,
  ...items,
  ...lives,
  ...devicesWithoutMemory,
  ...ownPages,
  ...otherDevices,
  ...webGpuChunks,
  ...webGpuChanges,
  ...webGpuPrivate,
  ...webGpuCommands,
  ...webGpuAlone,
  ...webGpuWarm,
  ...rounds,
  ...serviceOwners,
  ...joining,
  ...deathsInSections,
  ...deathsInInvalidations,
  ...deathsOfViewers,
  ...deathsInToldInvalidations,
  ...deathsOfOwners,
  ...deathsOfReaders,
  ...deathsOfWriters,
  ...orphans,
  ...deathsOfLeaving,
  ...deathsInForks,
  ...deathsWithTables,
  ...deathsAlone,
  ...deathsWithRows,
  ...deathsOfGrownBuffers,
  ...deathsInDiscards,
  ...heirsOfMaking,
  ...deathsInHugeChanges,
  ...deathsInHugeMoves,
  ...deathsWithMirrors,
  ...deathsWithFirstMirrors,
  ...deathsWithExclusivePages,
  ...deathsWithSharedMemory,
  ...deathsInReleases,
  ...deathsInMoves,
  ...deathsWithPins,
  ...deathsWithRuns,
  ...deathsOfDeviceThreads,
  ...deathsBesideKernels,
  ...deathsInDeviceLives,
  ...deathsWithClaims,
  ...deathsWithMappers,
  ...deathsInGrowing,
  ...deathsWithInsertedPages,
  ...deathsWithFilePages,
  ...deathsWithSourceParts,
  ...deathsBesideWebGpu,
  ...deathsInWebGpuLives,
  ...heirs,
  ...mirrorHeirs,
  ...memoryHeirs,
];
