/** A whole agent in a process of its own, that says how often it has spawned each tool. */
import { createLog } from '#shared/log.ts';
import { readConfig } from '../../../agent/config.ts';
import { startAgent } from '../../../agent/main.ts';

const { config } = readConfig(['--config', process.argv[2] ?? ''], {});
const ending = new AbortController();
process.on('message', (message) => {
  if (message === 'spawns') process.send?.(Object.fromEntries(agent.spawns));
});
process.once('disconnect', () => ending.abort());
await using agent = await startAgent(config, createLog({ level: 'warn', to: 'stderr' }));
await agent.run(ending.signal);
