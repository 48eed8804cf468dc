/**
 * Guest networks of the host that it is started on: takes one call a line as JSON, and answers with a line. It is
 * there to be killed, and kills itself before or after a chosen spawn.
 */
import { createInterface } from 'node:readline';
import { systemClock } from '#shared/clock.ts';
import { asDroverError } from '#shared/errors.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId } from '#shared/model.ts';
import { createHostCommands } from '../agent/host/command.ts';
import type { GuestNetwork } from '../agent/network/guest-network.ts';
import { createGuestNetworks } from '../agent/network/index.ts';

export interface NetworkChildOptions {
  readonly stateDir: string;
  readonly incarnation: string;
  readonly firewall: boolean;
  /** Dies around the spawn of this number, from 1. */
  readonly dieAt?: { readonly spawn: number; readonly moment: 'before' | 'after' };
}

export type NetworkCall =
  | { readonly call: 'fingerprint' }
  | { readonly call: 'spawns' }
  | { readonly call: 'prepare'; readonly network: GuestNetwork }
  | { readonly call: 'attach'; readonly network: GuestNetwork; readonly pid: number | null }
  | { readonly call: 'detach'; readonly id: InstanceId }
  | { readonly call: 'addressesOf'; readonly id: InstanceId }
  | { readonly call: 'sweep'; readonly wanted: readonly InstanceId[] };

function main(options: NetworkChildOptions): void {
  const { stateDir, incarnation, firewall, dieAt } = options;
  const host = createHostCommands({ clock: systemClock });
  const { signal } = new AbortController();
  let spawned = 0;
  const die = (moment: 'before' | 'after', spawn: number): void => {
    if (dieAt?.spawn === spawn && dieAt.moment === moment) process.kill(process.pid, 'SIGKILL');
  };
  const run: typeof host.run = async (tool, args, given) => {
    spawned += 1;
    const spawn = spawned;
    die('before', spawn);
    const result = await host.run(tool, args, given);
    die('after', spawn);
    return result;
  };
  const networks = createGuestNetworks({ stateDir, incarnation, run, log: silentLog, firewall });

  const answer = async (call: NetworkCall): Promise<unknown> => {
    if (call.call === 'fingerprint') return networks.fingerprint(signal);
    if (call.call === 'spawns') return Object.fromEntries(host.spawns);
    if (call.call === 'prepare') return networks.prepare(call.network, signal);
    if (call.call === 'attach') return networks.attach(call.network, call.pid ?? undefined, signal);
    if (call.call === 'detach') return networks.detach(call.id, signal);
    if (call.call === 'addressesOf') return networks.addressesOf(call.id);
    return networks.sweep(new Set(call.wanted), signal);
  };
  const reply = (id: number, body: object): void => {
    process.stdout.write(`${JSON.stringify({ id, ...body })}\n`);
  };
  createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, call } = JSON.parse(line) as { readonly id: number; readonly call: NetworkCall };
    answer(call).then(
      (value) => reply(id, { value }),
      (error: unknown) => {
        const { kind, message, subject, nextStep } = asDroverError(error);
        reply(id, { error: { kind, message, subject, nextStep } });
      },
    );
  });
}

const [given] = process.argv.slice(2);
if (given !== undefined) main(JSON.parse(given) as NetworkChildOptions);
