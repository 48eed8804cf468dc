import type { Filter, Score } from '../plugin.ts';
import { binPack } from './bin-pack.ts';
import { bondsKept } from './bonds-kept.ts';
import { bridgesHere } from './bridges-here.ts';
import { emptiest } from './emptiest.ts';
import { enoughCpu } from './enough-cpu.ts';
import { enoughDisk } from './enough-disk.ts';
import { enoughMemory } from './enough-memory.ts';
import { featuresOffered } from './features-offered.ts';
import { imageHere } from './image-here.ts';
import { imagePresent } from './image-present.ts';
import { labelSelectors } from './label-selectors.ts';
import { nodeReady } from './node-ready.ts';
import { notCordoned } from './not-cordoned.ts';
import { poolHere } from './pool-here.ts';
import { portsFree } from './ports-free.ts';
import { runtimeOffered } from './runtime-offered.ts';
import { spread } from './spread.ts';
import { volumesHere } from './volumes-here.ts';

/** Cheapest first. A node that several rules keep out is counted under the first of them. */
export const filters: readonly Filter[] = [
  nodeReady,
  notCordoned,
  volumesHere,
  bondsKept,
  enoughMemory,
  enoughCpu,
  runtimeOffered,
  labelSelectors,
  featuresOffered,
  imageHere,
  bridgesHere,
  poolHere,
  enoughDisk,
  portsFree,
];

export const scores: readonly Score[] = [spread, emptiest, binPack, imagePresent];
