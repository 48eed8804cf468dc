/** A signal that has a guest start anew; its restart policy has no say in it. */
import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import {
  anyGuest,
  container,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';

const { signal } = new AbortController();
const { SIGINT } = constants.signals;
const never = { restart: { policy: 'never', maxAttempts: 0 } } as const;
const cases = (['8.4.21', '9.2.11'] as const).flatMap((version) => [
  { version, kind: 'container', spec: { ...container, ...never } },
  { version, kind: 'machine', spec: { ...machine, ...never } },
]);

const sent = ({ server }: ProxmoxWorld): string[] =>
  server.requests.list().filter((each) => /^(POST|PUT|DELETE) /.test(each));

describe.each(cases)(
  'a $kind of $version that is sent INT',
  { timeout: 60_000 },
  ({ version, kind, spec }) => {
    it('has started anew when that is done, and goes on', async () => {
      // Slow enough for the list to see it stopped meanwhile.
      await using world = await openQuickWorld({ version, pace: 3 });
      const order = await runGuest(world, spec);
      const guest = anyGuest(world);
      const { pid } = guest;
      world.server.requests.reset();
      await world.backend.signalInstance(order, SIGINT, signal);
      expect(guest.status).toBe('running');
      expect(guest.pid).not.toBe(pid);
      expect(sent(world)).toEqual([expect.stringMatching(/\/status\/reboot$/)]);
      await until(() => phaseOf(world, order.instanceId) === 'running 1', { what: 'told as running' });
      const state = world.state(order.instanceId);
      expect(state).toMatchObject({ restarts: 0, exit: undefined });
    });

    it(`is ${kind === 'container' ? 'ended' : 'left'} where it does not heed it, and that is said`, async () => {
      await using world = await openQuickWorld({ version });
      const order = await runGuest(world, spec);
      const guest = anyGuest(world);
      const { pid } = guest;
      guest.inside.shutdownMs = Number.POSITIVE_INFINITY;
      const reboot = world.backend.signalInstance(order, SIGINT, signal);
      // Its cluster ends a container that takes too long, and only that.
      if (kind === 'container') expect(await reboot).toBeUndefined();
      else await expect(reboot).rejects.toMatchObject({ name: 'DroverError' });
      expect(guest.status).toBe('running');
      expect(guest.pid === pid).toBe(kind === 'machine');
      expect(phaseOf(world, order.instanceId)).toBe('running 1');
    });

    it('is refused where it does not run', async () => {
      await using world = await openQuickWorld({ version });
      const order = await runGuest(world, spec);
      await world.backend.stopInstance(order, 0, signal);
      world.server.requests.reset();
      await expect(world.backend.signalInstance(order, SIGINT, signal)).rejects.toMatchObject({
        kind: 'failed-precondition',
      });
      expect(sent(world)).toEqual([]);
    });
  },
);
