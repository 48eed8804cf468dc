/** Tasks of a node: lists, state, log, abort. */
import { owns } from './caller.ts';
import { parameterFailure, refusal } from './failure.ts';
import { permissionFailure } from './permission.ts';
import { Answer, TextAnswer } from './route.ts';
import type { Call, Routes } from './route.ts';
import type { Task } from './task-engine.ts';

type Row = Readonly<Record<string, unknown>>;

/** Parts of a UPID: node, pid, pstart, starttime, type, id, user. */
const upidForm =
  /^UPID:([^:]+):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8}):([^:]+):([^:]*):([^:\s]+):$/;

function checkUpid(upid: string): void {
  if (!upidForm.test(upid)) throw parameterFailure({ upid: 'unable to parse worker upid' });
}

/** A task is known to its own node alone, and to nobody by a wrong UPID. */
function findTask({ world, node, parameters }: Call): Task {
  const { upid = '' } = parameters;
  checkUpid(upid);
  const task = world.tasks.find(upid);
  if (task === undefined || task.node !== node) throw parameterFailure({ upid: 'no such task' });
  return task;
}

function mayRead({ caller, may, node }: Call, task: Task): boolean {
  return owns(caller, task) || may(`/nodes/${node}`, 'Sys.Audit');
}

function needRead(call: Call, task: Task): void {
  if (!mayRead(call, task)) throw permissionFailure(`/nodes/${call.node}, Sys.Audit`);
}

const whoseRow = ({ caller }: Task): Row => ({
  user: caller.user,
  ...(caller.token === undefined ? {} : { tokenid: caller.token }),
});

function statusRow(task: Task): Row {
  const { upid, node, type, id, pid, pstart, startTime, exitStatus } = task;
  const state =
    exitStatus === undefined ? { status: 'running' } : { status: 'stopped', exitstatus: exitStatus };
  return { upid, node, type, id, pid, pstart, starttime: startTime, ...whoseRow(task), ...state };
}

export function endedRow(task: Task): Row {
  const { upid, node, type, id, pid, pstart, startTime, endTime, exitStatus } = task;
  const end = exitStatus === undefined ? {} : { endtime: endTime, status: exitStatus };
  return { upid, node, type, id, pid, pstart, starttime: startTime, ...whoseRow(task), ...end };
}

/** A running task in a list has its user in one piece. */
function activeRow(task: Task): Row {
  const { upid, node, type, id, pid, pstart, startTime, caller } = task;
  return {
    upid,
    node,
    type,
    id,
    pid,
    pstart,
    starttime: startTime,
    user: caller.authId,
    saved: '0',
    status: 'RUNNING',
  };
}

/** As statusfilter names them. */
function statusKind(exitStatus: string): string {
  if (exitStatus === 'OK') return 'ok';
  if (exitStatus.startsWith('WARNINGS')) return 'warning';
  return exitStatus === 'unexpected status' ? 'unknown' : 'error';
}

const statusKinds = new Set(['ok', 'error', 'warning', 'unknown']);

function taskFilter({ parameters }: Call): (task: Task) => boolean {
  const { vmid, typefilter, userfilter, since, until, errors, statusfilter } = parameters;
  const wanted = statusfilter?.split(/[\s,;]+/).filter((word) => word !== '');
  const stray = wanted?.find((word) => !statusKinds.has(word));
  if (stray !== undefined)
    throw parameterFailure({ statusfilter: `invalid format - invalid status '${stray}'\n` });
  return (task) =>
    (vmid === undefined || task.id === vmid) &&
    (typefilter === undefined || task.type === typefilter) &&
    (userfilter === undefined || task.caller.authId.toLowerCase().includes(userfilter.toLowerCase())) &&
    (since === undefined || task.startTime >= Number(since)) &&
    (until === undefined || task.startTime <= Number(until)) &&
    (wanted === undefined || wanted.includes(statusKind(task.exitStatus ?? 'OK'))) &&
    (errors !== '1' || statusKind(task.exitStatus ?? 'OK') !== 'ok');
}

function listTasks(call: Call): Answer {
  const { start = '0', limit = '50', source = 'archive' } = call.parameters;
  const all = call.world.tasks.list(call.node).filter((task) => mayRead(call, task));
  const fitting = all.filter(taskFilter(call));
  const active = fitting.filter(({ exitStatus }) => exitStatus === undefined);
  const archived = fitting
    .filter(({ exitStatus }) => exitStatus !== undefined)
    .toSorted((a, b) => b.endedAs - a.endedAs);
  const rows = [
    ...(source === 'archive' ? [] : active.map(activeRow)),
    ...(source === 'active' ? [] : archived.map(endedRow)),
  ];
  const page = rows.slice(Number(start), Number(start) + Number(limit));
  return rows.length === 0 ? new Answer([]) : new Answer(page, { total: rows.length });
}

/** Before 9 one line stands alone, in no list. */
function noLog(major: number): Answer {
  const line = { n: 1, t: 'unable to open file - No such file or directory' };
  return new Answer(major >= 9 ? [line] : line, { total: 1 });
}

function readLog(call: Call): unknown {
  const { upid = '', start, limit, download } = call.parameters;
  checkUpid(upid);
  const task = call.world.tasks.find(upid);
  if (download === '1' && (start !== undefined || limit !== undefined)) {
    throw refusal(`'download' cannot be used together with 'start' or 'limit' parameters`);
  }
  if (task === undefined || task.node !== call.node) {
    return noLog(call.world.major);
  }
  needRead(call, task);
  if (download === '1') return new TextAnswer(task.log.map((line) => `${line}\n`).join(''));
  if (task.log.length === 0) return new Answer([{ n: 1, t: 'no content' }], { total: 1 });
  const first = Number(start ?? 0);
  const count = Number(limit ?? 50);
  const end = count === 0 ? undefined : first + count;
  const lines = task.log.map((t, index) => ({ n: index + 1, t }));
  return new Answer(lines.slice(first, end), { total: lines.length });
}

async function abortTask(call: Call): Promise<null> {
  const task = findTask(call);
  if (!owns(call.caller, task)) call.require(`/nodes/${call.node}`, 'Sys.Modify');
  if (task.exitStatus === undefined) call.world.tasks.abort(task);
  return null;
}

export const taskRoutes: Routes = {
  'GET /nodes/{node}/tasks': listTasks,
  'GET /nodes/{node}/tasks/{upid}': () => [{ name: 'log' }, { name: 'status' }],
  'GET /nodes/{node}/tasks/{upid}/status': (call) => {
    const task = findTask(call);
    needRead(call, task);
    return statusRow(task);
  },
  'GET /nodes/{node}/tasks/{upid}/log': readLog,
  'DELETE /nodes/{node}/tasks/{upid}': abortTask,
};
