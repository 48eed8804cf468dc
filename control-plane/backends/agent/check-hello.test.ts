import { describe, expect, it } from 'vitest';
import { checkVersion } from '../../../agent/api/hello.ts';
import { checkHello } from './check-hello.ts';

const outcomeOf = (check: () => void): unknown => {
  try {
    check();
    return 'works';
  } catch (error) {
    const { reason, nextStep } = error as { reason: string; nextStep: string };
    return `${reason}: ${nextStep}`;
  }
};

describe('two versions', () => {
  it.each([
    ['equal', 5, 5, 'works'],
    ['with the control plane one ahead', 6, 5, 'works'],
    ['with the control plane two ahead', 7, 5, 'version-skew: upgrade the agent'],
    ['with the agent one ahead', 5, 6, 'version-skew: upgrade the control plane first'],
    ['with the agent two ahead', 5, 7, 'version-skew: upgrade the control plane first'],
  ])('%s are judged alike by both sides', (_name, controlPlane, agent, expected) => {
    const atControlPlane = outcomeOf(() =>
      checkHello({ version: '0.1.0', wireMinor: agent, incarnation: 'a' }, 'a', controlPlane),
    );
    const atAgent = outcomeOf(() => checkVersion({ version: '0.1.0', wireMinor: controlPlane }, agent));
    expect([atControlPlane, atAgent]).toEqual([expected, expected]);
  });
});

describe('the state directory behind a hello', () => {
  it.each([
    ['is the one that joined', 'a', 'works'],
    ['is not known yet', undefined, 'works'],
    ['is another', 'b', 'other-incarnation: join it anew with a token made with --replace'],
  ])('%s', (_name, expectedIncarnation, expected) => {
    const hello = { version: '0.1.0', wireMinor: 1, incarnation: 'a' };
    expect(outcomeOf(() => checkHello(hello, expectedIncarnation, 1))).toBe(expected);
  });
});
