/** Every backend there is, for the composition root alone. */
export { agentBackend, type AgentBackend } from './agent.ts';
export { proxmoxBackend } from './proxmox/index.ts';
