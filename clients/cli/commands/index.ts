import type { CommandSpec } from '../command.ts';
import { adopt } from './adopt.ts';
import { apply } from './apply.ts';
import { clone } from './clone.ts';
import { clusterAdd, clusterUpdate } from './cluster-add.ts';
import { clusterDescribe, clusterList, clusterRemove, clusterTest } from './cluster.ts';
import { completion } from './completion.ts';
import { consoleCommand } from './console.ts';
import { contextImport, contextList, contextRemove, contextShow, contextUse } from './context.ts';
import { deleteWorkload } from './delete.ts';
import { describe } from './describe.ts';
import { drain } from './drain.ts';
import { events } from './events.ts';
import { exec } from './exec.ts';
import { explain } from './explain.ts';
import { freeze, thaw } from './freeze.ts';
import { get } from './get.ts';
import { imageList, imagePull, imageRemove } from './image.ts';
import { kill } from './kill.ts';
import { localList, localLogs, localRemove, localStop } from './local.ts';
import { logs } from './logs.ts';
import { networkList, networkRemove } from './network.ts';
import { nodeCordon, nodeJoin, nodeList, nodeRemove, nodeToken, nodeUncordon } from './node.ts';
import { pause, resume } from './pause.ts';
import { plan } from './plan.ts';
import { release } from './release.ts';
import { routingSet, routingShow } from './routing.ts';
import { scale } from './scale.ts';
import { rollback, snapshotCreate, snapshotList, snapshotRemove, snapshotRollback } from './snapshot.ts';
import { stats } from './stats.ts';
import { templateCreate, templateList, templateRemove } from './template.ts';
import { versionCommand } from './version.ts';
import { volumeList, volumeRemove } from './volume.ts';

/** In the order of the help. */
export const commands: readonly CommandSpec[] = [
  apply,
  plan,
  get,
  describe,
  explain,
  scale,
  rollback,
  deleteWorkload,
  logs,
  exec,
  consoleCommand,
  stats,
  kill,
  pause,
  resume,
  freeze,
  thaw,
  snapshotCreate,
  snapshotList,
  snapshotRollback,
  snapshotRemove,
  volumeList,
  volumeRemove,
  events,
  nodeToken,
  nodeJoin,
  nodeList,
  nodeCordon,
  nodeUncordon,
  nodeRemove,
  drain,
  clusterAdd,
  clusterList,
  clusterDescribe,
  clusterTest,
  clusterUpdate,
  clusterRemove,
  adopt,
  clone,
  templateCreate,
  templateList,
  templateRemove,
  release,
  routingShow,
  routingSet,
  imageList,
  imagePull,
  imageRemove,
  networkList,
  networkRemove,
  contextList,
  contextUse,
  contextShow,
  contextImport,
  contextRemove,
  localList,
  localLogs,
  localStop,
  localRemove,
  completion,
  versionCommand,
];
