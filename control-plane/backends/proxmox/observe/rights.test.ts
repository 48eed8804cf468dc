import { expect, it } from 'vitest';
import { mayBePrivileged, missingRights, rightsMessage, rightsOf } from './rights.ts';

const all = Object.fromEntries(rightsOf({}).map(({ privilege }) => [privilege, 1]));

it('finds rights on their path, or on all', () => {
  expect(missingRights(rightsOf({ '/': all }))).toEqual([]);
  const { 'VM.Migrate': _migrate, ...some } = all;
  const rights = rightsOf({ '/': all, '/vms': some });
  expect(missingRights(rights)).toMatchObject([{ privilege: 'VM.Migrate', path: '/vms' }]);
  expect(rightsMessage(rights)).toBe('its credential lacks VM.Migrate on /vms (moving guests between nodes)');
});

it('says when nothing works at all', () => {
  for (const nothing of [{}, null, undefined, 'x', { '/': 3 }])
    expect(rightsMessage(rightsOf(nothing))).toMatch(/^its credential cannot work without Sys\.Audit on \//);
  expect(rightsMessage(rightsOf({ '/': all }))).toBe('');
});

it('knows who may make privileged containers', () => {
  expect(mayBePrivileged({ '/': { 'Sys.Modify': 1 } })).toBe(true);
  expect(mayBePrivileged({ '/nodes': { 'Sys.Modify': 1 } })).toBe(false);
});

it.each([
  ['8.4.21', {}, ['VM.Monitor', 'Sys.Modify', 'Datastore.Allocate']],
  ['8.4.21', { 'VM.Monitor': 1 }, ['Sys.Modify', 'Datastore.Allocate']],
  ['9.2.11', { 'VM.GuestAgent.Unrestricted': 1 }, ['Sys.Modify', 'Datastore.Allocate']],
  [
    '9.2.11',
    { 'VM.GuestAgent.FileSystemMgmt': 1, 'Sys.Modify': 1 },
    ['VM.GuestAgent.Unrestricted', 'VM.GuestAgent.Audit', 'Datastore.Allocate'],
  ],
])('tells on %s what a part of Drover asks for besides %j, and misses it not', (version, more, without) => {
  const rights = rightsOf({ '/': { ...all, ...more } }, version);
  const lacking = rights.filter(({ granted }) => !granted);
  expect(lacking.map(({ privilege }) => privilege)).toEqual(without);
  expect(lacking.every(({ optional }) => optional)).toBe(true);
  expect(missingRights(rights)).toEqual([]);
  expect(rightsMessage(rights)).toBe('');
});

it.each([
  [{ 'user-tag-access': { 'user-allow': 'list', 'user-allow-list': ['web'] } }, false],
  [{ 'user-tag-access': { 'user-allow': 'existing' } }, false],
  [{ 'user-tag-access': 'user-allow=none' }, false],
  [{ 'user-tag-access': { 'user-allow': 'free' } }, true],
  [{ 'user-tag-access': { 'user-allow-list': ['web'] } }, true],
  [{}, true],
  [undefined, true],
])('wants Sys.Modify where the datacenter lets its users set no tags of their own: %j', (options, isFree) => {
  const missing = missingRights(rightsOf({ '/': all }, '', options));
  expect(missing.map(({ privilege, path }) => `${privilege} ${path}`)).toEqual(
    isFree ? [] : ['Sys.Modify /'],
  );
  if (!isFree)
    expect(rightsMessage(rightsOf({ '/': all }, '', options))).toMatch(
      /^its credential cannot work without Sys\.Modify on \/ \(the tags that guests are known by/,
    );
  expect(missingRights(rightsOf({ '/': { ...all, 'Sys.Modify': 1 } }, '', options))).toEqual([]);
});

it('takes rights on some storages and bridges for rights, and on some guests for none', () => {
  const { 'Datastore.Audit': _audit, 'SDN.Use': _use, ...some } = all;
  const narrow = (path: string, privilege: string) =>
    missingRights(rightsOf({ '/': some, [path]: { [privilege]: 0 } })).map((each) => each.privilege);
  expect(narrow('/storage/tank', 'Datastore.Audit')).toEqual(['SDN.Use']);
  expect(narrow('/sdn/zones/localnetwork/vmbr0', 'SDN.Use')).toEqual(['Datastore.Audit']);
  const { 'VM.Migrate': _migrate, ...others } = all;
  expect(missingRights(rightsOf({ '/': others, '/vms/100': { 'VM.Migrate': 1 } }))).toHaveLength(1);
});
