/** A cluster for tests of guests: its methods are called without HTTP, and its time passes when it is told to. */
import { factsFor } from '../../../control-plane/backends/proxmox/schema/facts.ts';
import type { FakeClock } from '../clock.ts';
import { createFakeClock } from '../clock.ts';
import { createSeededRandom } from '../random.ts';
import type { Caller } from './caller.ts';
import { checkParameters } from './check-parameters.ts';
import { createWorld } from './create-world.ts';
import { parameterFailure } from './failure.ts';
import { guestRoutes } from './guest-routes.ts';
import { requirePrivileges } from './permission.ts';
import { recordedTemplate, standardStorages } from './standard-storages.ts';
import type { ProxmoxVersion, World } from './world.ts';

export interface GuestWorld {
  readonly world: World;
  readonly clock: FakeClock;
  /** The volume id of a template. */
  readonly template: string;
  /** Calls a method by its path and gives its data, letting time pass until it answers. */
  call(method: string, path: string, parameters?: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Calls, waits for the task, and gives how it ended. */
  run(method: string, path: string, parameters?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Who calls from now on; root's token at first. */
  become(caller: Caller): void;
  /** The log of the task that `run` waited for last. */
  lastLog(): readonly string[];
}

const rig: Caller = { user: 'root@pam', token: 'rig', authId: 'root@pam!rig' };

export function createGuestWorld(version: ProxmoxVersion = '9.2.11'): GuestWorld {
  const clock = createFakeClock();
  const nodes = ['pve1', 'pve2', 'pve3'];
  const world = createWorld({ version, clock, random: createSeededRandom(3), nodes });
  standardStorages(world);
  world.access.addToken('root@pam', 'rig', { privilegeSeparation: false });
  let caller = rig;
  const facts = factsFor(version);
  let log: readonly string[] = [];

  async function ask(name: string, parameters: Record<string, string>): Promise<unknown> {
    const [method = '', template = ''] = name.split(' ');
    const errors = checkParameters(facts, method, template, parameters);
    if (errors !== undefined) throw parameterFailure(errors);
    const handler = guestRoutes[name];
    if (handler === undefined) throw new Error(`no method ${name}`);
    const node = parameters['node'] ?? 'pve1';
    return handler({
      parameters,
      node,
      endpoint: node,
      caller,
      world,
      files: [],
      require: (place, ...privileges) => requirePrivileges({ world, caller }, place, privileges, false),
      requireAny: (place, ...privileges) => requirePrivileges({ world, caller }, place, privileges, true),
      may: (place, privilege) => world.access.may(caller, place, privilege),
      fork: (type, id, body) => world.task({ node, type, id, caller }, body).upid,
    });
  }

  async function call(method: string, path: string, given: Readonly<Record<string, unknown>> = {}) {
    const { name, fromPath } = matchName(method, path);
    const entries = Object.entries(given).map(([key, value]) => [key, textOf(value)]);
    const parameters = { ...fromPath, ...(Object.fromEntries(entries) as Record<string, string>) };
    const answer = ask(name, parameters);
    let done = false;
    const settled = answer.then(
      () => undefined,
      () => undefined,
    );
    void settled.then(() => {
      done = true;
    });
    await clock.settle();
    for (let rounds = 0; !done && rounds < 400; rounds += 1) await clock.advance(100);
    return answer;
  }

  return {
    world,
    clock,
    template: `local:vztmpl/${recordedTemplate}`,
    call,
    async run(method, path, parameters) {
      const upid = await call(method, path, parameters);
      const task = world.tasks.find(String(upid));
      if (task === undefined) throw new Error(`no task ${String(upid)}`);
      for (let rounds = 0; task.exitStatus === undefined && rounds < 4000; rounds += 1)
        await clock.advance(100);
      log = task.log;
      return task.exitStatus ?? 'running';
    },
    become(who) {
      caller = who;
    },
    lastLog: () => log,
  };
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.join('\0');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The method whose template fits: fixed words before placeholders. */
function matchName(
  method: string,
  path: string,
): { readonly name: string; readonly fromPath: Record<string, string> } {
  const words = path.split('/');
  const fits = Object.keys(guestRoutes).flatMap((name) => {
    const [verb = '', template = ''] = name.split(' ');
    const parts = template.split('/');
    if (verb !== method || parts.length !== words.length) return [];
    const ok = parts.every((part, place) => part.startsWith('{') || part === words[place]);
    if (!ok) return [];
    const pairs = parts.flatMap((part, place) =>
      part.startsWith('{') ? [[part.slice(1, -1), words[place]]] : [],
    );
    return [{ name, fromPath: Object.fromEntries(pairs) as Record<string, string>, fixed: -pairs.length }];
  });
  const [best] = fits.sort((one, other) => other.fixed - one.fixed);
  if (best === undefined) throw new Error(`no method ${method} ${path}`);
  return best;
}
