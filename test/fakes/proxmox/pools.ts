/** Resource pools. */
import { refusal } from './failure.ts';
import { permissionFailure } from './permission.ts';
import { guestRow, memberRow, poolOf, storageRow } from './resource-rows.ts';
import type { Call, Routes } from './route.ts';
import type { Pool, World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

const list = (text = ''): string[] => text.split(/[\s,;]+/).filter((word) => word !== '');
const validName = /^[A-Za-z0-9_-]+(?:\/[A-Za-z0-9_-]+){0,2}$/;

async function createPool(call: Call): Promise<null> {
  const { poolid = '', comment } = call.parameters;
  const { world } = call;
  // Not a name: the path that rights are looked for at is empty then, and nobody has any there.
  if (!validName.test(poolid)) throw permissionFailure(', Pool.Allocate');
  await world.clusterLock('file-user_cfg', 'create pool failed: ');
  const fail = (why: string): never => {
    throw refusal(`create pool failed: ${why}`);
  };
  if (world.pools.has(poolid)) fail(`pool '${poolid}' already exists`);
  const parent = poolid.includes('/') ? poolid.slice(0, poolid.lastIndexOf('/')) : undefined;
  if (parent !== undefined && !world.pools.has(parent)) {
    fail(`parent '${parent}' of pool '${poolid}' does not exist`);
  }
  world.pools.set(poolid, { id: poolid, comment, guests: new Set(), storages: new Set() });
  return null;
}

function needPool(world: World, id: string, prefix = ''): Pool {
  const pool = world.pools.get(id);
  if (pool === undefined) throw refusal(`${prefix}pool '${id}' does not exist`);
  return pool;
}

async function updatePool({ world, parameters }: Call): Promise<null> {
  const { poolid = '', comment, vms, storage, delete: remove, 'allow-move': move } = parameters;
  const prefix = 'update pools failed: ';
  await world.clusterLock('file-user_cfg', prefix);
  const pool = needPool(world, poolid, prefix);
  if (comment !== undefined) pool.comment = comment;
  const removing = remove === '1';
  for (const vmid of list(vms).map(Number)) {
    if (removing) removeGuest(pool, vmid);
    else addGuest(world, pool, vmid, move === '1');
  }
  for (const name of list(storage)) changeStorage(pool, name, removing);
  return null;
}

function removeGuest(pool: Pool, vmid: number): void {
  if (!pool.guests.delete(vmid)) throw refusal(`update pools failed: VM ${vmid} is not a pool member`);
}

function addGuest(world: World, pool: Pool, vmid: number, mayMove: boolean): void {
  const before = poolOf(world, vmid);
  if (before === pool.id) throw refusal(`update pools failed: VM ${vmid} is already a pool member`);
  if (before !== undefined && !mayMove) {
    const why = `VM ${vmid} belongs already to pool '${before}' and 'allow-move' is not set`;
    throw refusal(`update pools failed: ${why}`);
  }
  if (before !== undefined) world.pools.get(before)?.guests.delete(vmid);
  pool.guests.add(vmid);
}

function changeStorage(pool: Pool, name: string, removing: boolean): void {
  if (!removing) {
    pool.storages.add(name);
    return;
  }
  if (!pool.storages.delete(name)) {
    throw refusal(`update pools failed: Storage '${name}' is not a pool member`);
  }
}

async function deletePool({ world, parameters }: Call): Promise<null> {
  const { poolid = '' } = parameters;
  const prefix = 'delete pool failed: ';
  await world.clusterLock('file-user_cfg', prefix);
  const pool = needPool(world, poolid, prefix);
  const inside = [...world.pools.keys()].find((id) => id.startsWith(`${poolid}/`));
  const guest = [...pool.guests].find((vmid) => world.guests.has(vmid));
  const [storage] = pool.storages;
  const held = inside ?? guest ?? storage;
  if (held !== undefined) {
    const kind =
      inside !== undefined ? `pool '${inside}'` : guest !== undefined ? `VM ${guest}` : `storage '${held}'`;
    throw refusal(`${prefix}pool '${poolid}' is not empty (contains ${kind})`);
  }
  world.pools.delete(poolid);
  return null;
}

function membersOf({ world, endpoint, parameters }: Call, pool: Pool): Row[] {
  const { type } = parameters;
  const guests = [...pool.guests]
    .flatMap((vmid) => world.guests.get(vmid) ?? [])
    .sort((a, b) => a.vmid - b.vmid);
  const rows: Row[] = guests.map((guest) =>
    world.broadcasts.guest(guest.vmid) === undefined
      ? withoutPool(guestRow(world, guest))
      : memberRow(world, guest),
  );
  for (const name of pool.storages) {
    const definition = world.storages.definitions.get(name);
    if (definition !== undefined) rows.push(storageRow(world, definition, endpoint));
  }
  return type === undefined ? rows : rows.filter((row) => row['type'] === type);
}

function withoutPool({ pool: _pool, ...row }: Row): Row {
  return row;
}

const headOf = ({ id, comment }: Pool): Row => ({
  poolid: id,
  ...(comment === undefined ? {} : { comment }),
});

function listPools(call: Call): Row[] {
  const { world, may, parameters } = call;
  const { poolid } = parameters;
  if (poolid === undefined) {
    const seen = [...world.pools.values()].filter(({ id }) => may(`/pool/${id}`, 'Pool.Audit'));
    return seen.sort((a, b) => (a.id < b.id ? -1 : 1)).map(headOf);
  }
  call.require(`/pool/${poolid}`, 'Pool.Audit');
  const pool = needPool(world, poolid);
  return [{ ...headOf(pool), members: membersOf(call, pool) }];
}

function readPool(call: Call): Row {
  const pool = needPool(call.world, call.parameters['poolid'] ?? '');
  return { ...headOf(pool), members: membersOf(call, pool) };
}

export const poolRoutes: Routes = {
  'GET /pools': listPools,
  'POST /pools': createPool,
  'PUT /pools': updatePool,
  'DELETE /pools': deletePool,
  'GET /pools/{poolid}': readPool,
  'PUT /pools/{poolid}': updatePool,
  'DELETE /pools/{poolid}': deletePool,
};
