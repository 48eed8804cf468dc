/**
 * Every recorded exchange with real clusters is sent to the server for tests. Where its answer is another one,
 * proxmox-differences.ts says so and why; a difference that is listed and no longer there fails too.
 */
import { describe, expect, it } from 'vitest';
import { unlisted, unused } from './proxmox-differences.ts';
import { readRecording, recordedFlows } from './proxmox/recording.ts';
import { replayFlow } from './proxmox/replay-flow.ts';

describe.each(['8.4.21', '9.2.11'] as const)('the recordings of Proxmox VE %s', (version) => {
  it.each(recordedFlows(version))('%s', async (flow) => {
    const recording = readRecording(version, flow);
    const findings = await replayFlow(recording);
    expect(unlisted(version, flow, findings)).toEqual([]);
    expect(unused(version, flow, findings)).toEqual([]);
  });
});
