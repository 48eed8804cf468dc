import type { InstanceState } from '#shared/gen/drover/model/v1/model.ts';
import { type CommandContext, type OptionValues, type Result, command } from '../command.ts';
import { confirm } from '../confirm.ts';
import type { LocalAgent } from '../local-agent.ts';
import { listResult } from '../output.ts';
import { ageOf, exitText, phaseNameOf } from '../views.ts';
import { lineWriter, logOptionSpecs, logOptions } from './logs.ts';

/** For the host itself, while the control plane is away: read, stop and remove, never create. */
const socketOption = {
  flags: '--socket <path>',
  help: "the agent's socket",
  default: '/run/drover/agent/agent.sock',
} as const;
const instanceArgument = { name: '<instance>', help: 'its name or id' } as const;

async function withAgent<T>(options: OptionValues, work: (agent: LocalAgent) => Promise<T>): Promise<T> {
  const { openLocalAgent } = await import('../local-agent.ts');
  const agent = openLocalAgent(String(options['socket']));
  try {
    return await work(agent);
  } finally {
    agent.close();
  }
}

/** The agent fills in fleet, epoch and generation: on this socket it takes them from nobody. */
const localOrder = (instanceId: string, { random }: CommandContext) => ({
  fleetId: '',
  fleetEpoch: 0n,
  instanceId,
  generation: 0n,
  requestId: random.uuidV4(),
});

export const localList = command({
  name: 'local list',
  summary: 'Instances of this host, asked of its agent (as root)',
  options: [socketOption],
  examples: ['local list', 'local list -o json'],
  run: ({ options }, { clock }) =>
    withAgent(options, async (agent): Promise<Result> => {
      const nowMs = clock.nowMs();
      return listResult<InstanceState>({
        rows: await agent.list(),
        columns: [
          { title: 'NAME', value: ({ displayName }) => displayName },
          { title: 'STATE', value: ({ phase }) => phaseNameOf(phase) },
          { title: 'PID', value: ({ pid }) => (pid === 0 ? '' : `${pid}`) },
          { title: 'RESTARTS', value: ({ restarts }) => `${restarts}` },
          { title: 'EXIT', value: ({ exit }) => exitText(exit) },
          { title: 'UP', value: ({ startedAtMs }) => ageOf(startedAtMs, nowMs) },
          { title: 'ID', wide: true, value: ({ instanceId }) => instanceId },
          { title: 'MESSAGE', value: ({ message }) => message },
        ],
        json: agent.toJson,
        name: ({ displayName }) => displayName,
        empty: 'no instances on this host',
      });
    }),
});

export const localLogs = command({
  name: 'local logs',
  summary: 'Output of an instance of this host (as root)',
  arguments: [instanceArgument],
  options: [...logOptionSpecs, socketOption],
  examples: ['local logs web-x7k2p', 'local logs -f web-x7k2p'],
  run: ({ args: [name = ''], options }, context) =>
    withAgent(options, async (agent) => {
      const { instanceId } = await agent.find(name);
      const show = lineWriter(options, context, name);
      const request = { instanceId, options: logOptions(options, context) };
      for await (const line of agent.runtime.streamLogs(request, { signal: context.signal }))
        await show(line);
      return { exitCode: 0 };
    }),
});

export const localStop = command({
  name: 'local stop',
  summary: 'Stop an instance of this host; it stays stopped until its workload changes (as root)',
  arguments: [instanceArgument],
  options: [socketOption],
  examples: ['local stop web-x7k2p'],
  run: ({ args: [name = ''], options }, context) =>
    withAgent(options, async (agent): Promise<Result> => {
      const { instanceId } = await agent.find(name);
      const order = localOrder(instanceId, context);
      const { state } = await agent.runtime.stopInstance(
        { order, graceMs: undefined },
        { signal: context.signal },
      );
      context.terminal.note(`${name} is stopped`);
      return { data: state === undefined ? null : agent.toJson(state), names: [name], text: () => '' };
    }),
});

export const localRemove = command({
  name: 'local remove',
  summary: 'Stop an instance of this host and remove all that it wrote (as root)',
  arguments: [instanceArgument],
  options: [socketOption],
  examples: ['local remove web-x7k2p --yes'],
  run: ({ args: [name = ''], options }, context) =>
    withAgent(options, async (agent): Promise<Result> => {
      const { instanceId } = await agent.find(name);
      await confirm(`remove ${name} and everything it wrote`, name, context);
      const order = localOrder(instanceId, context);
      await agent.runtime.removeInstance({ order, graceMs: undefined }, { signal: context.signal });
      context.terminal.note(`${name} is removed`);
      return { data: { instanceId }, names: [name], text: () => '' };
    }),
});
