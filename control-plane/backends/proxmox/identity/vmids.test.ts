import { expect, it } from 'vitest';
import { chooseVmid } from './vmids.ts';

const taken =
  (...vmids: number[]) =>
  (vmid: number) =>
    vmids.includes(vmid);

it.each([
  { name: 'the hint where it is free', hint: 120, isTaken: taken(), vmid: 120 },
  { name: 'the next one where it is taken', hint: 120, isTaken: taken(120, 121), vmid: 122 },
  { name: 'the least where there is no hint', hint: Number.NaN, isTaken: taken(100), vmid: 101 },
  { name: 'the least where the hint is none', hint: 7, isTaken: taken(), vmid: 100 },
  {
    name: 'one below the hint where the top is reached',
    hint: 999_999_999,
    isTaken: taken(999_999_999),
    vmid: 100,
  },
])('chooses $name', ({ hint, isTaken, vmid }) => {
  expect(chooseVmid(hint, isTaken)).toBe(vmid);
});
