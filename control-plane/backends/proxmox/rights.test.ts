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
