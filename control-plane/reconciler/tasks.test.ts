import { describe, expect, it } from 'vitest';
import { createTasks } from './tasks.ts';

describe('tasks', () => {
  it('does one thing at a time for each key, and keeps every bound', async () => {
    const tasks = createTasks(4);
    const open: (() => void)[] = [];
    const run = (): Promise<void> => new Promise((resolve) => open.push(resolve));
    const node = { name: 'node a', limit: 2 };
    expect(tasks.start({ key: '1', groups: [node], run })).toBe(true);
    expect(tasks.start({ key: '1', groups: [], run })).toBe(false);
    expect(tasks.start({ key: '2', groups: [node], run })).toBe(true);
    expect(tasks.start({ key: '3', groups: [node], run })).toBe(false);
    expect(tasks.start({ key: '4', groups: [], run })).toBe(true);
    expect(tasks.start({ key: '5', groups: [], run })).toBe(true);
    expect(tasks.start({ key: '6', groups: [], run })).toBe(false);
    expect(tasks.running).toBe(4);

    for (const end of open) end();
    await tasks.drained();
    expect(tasks.running).toBe(0);
    expect(tasks.start({ key: '3', groups: [node], run: async () => undefined })).toBe(true);
    await tasks.drained();
  });
});
