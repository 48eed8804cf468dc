/**
 * One program: `drover agent` and `drover control-plane` are the daemons, `drover node join` makes this host
 * a node, and everything else is the command line. Each is loaded only when it is asked for.
 */
const argv = process.argv.slice(2);
const [first, second] = argv;

if (first === 'agent') {
  const { runAgent } = await import('./agent/main.ts');
  process.exitCode = await runAgent(argv.slice(1));
} else if (first === 'node' && second === 'join') {
  const { joinNode } = await import('./agent/main.ts');
  process.exitCode = await joinNode(argv.slice(2));
} else if (first === 'control-plane') {
  const { runControlPlane } = await import('./control-plane/main.ts');
  process.exitCode = await runControlPlane(argv.slice(1));
} else {
  const { runCli } = await import('./clients/cli/main.ts');
  process.exitCode = await runCli(argv);
}
