import { logLevels } from '#shared/log.ts';

const shared = `\
  --config FILE              settings, as docs/operate.md lists them (or DROVER_AGENT_CONFIG); flags win
  --state-dir DIR            what outlives a boot: identity, roots, volumes (default /var/lib/drover/agent)`;

export const agentUsage = `Usage: drover agent [flags]

Runs the agent of this host until SIGTERM or SIGINT; what it runs goes on. The host joins a fleet first:
drover node join TOKEN.

Flags:
${shared}
  --run-dir DIR              what ends with the boot (default /run/drover/agent)
  --control-plane HOST:PORT  where the control plane is (default: as the token said)
  --log-level LEVEL          ${logLevels.join(', ')} (default info)
  --help                     this text
`;

export const joinUsage = `Usage: drover node join TOKEN [flags]

Makes this host a node of the fleet that the token is of: \`drover node token NAME\` makes one, for one use.

Flags:
${shared}
  --help                     this text
`;
