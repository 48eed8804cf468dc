import { describe, expect, it } from 'vitest';
import { parseImageConfig } from './image-config.ts';

const parse = (config: unknown) =>
  parseImageConfig(JSON.stringify({ os: 'linux', architecture: 'amd64', config })).config;

describe('parseImageConfig', () => {
  it('reads all that it knows', () => {
    const found = parse({
      Entrypoint: ['/bin/web'],
      Cmd: ['-f'],
      Env: ['PATH=/bin', 'A=1=2', 'PATH=/usr/bin', '__proto__=x', 'EMPTY='],
      User: 'web:33',
      WorkingDir: '/srv/../var',
      StopSignal: 'SIGRTMIN+3',
    });
    expect(found).toMatchObject({
      entrypoint: ['/bin/web'],
      command: ['-f'],
      user: 'web:33',
      workingDir: '/var',
      stopSignal: 37,
    });
    expect(Object.entries(found.env)).toEqual([
      ['PATH', '/usr/bin'],
      ['A', '1=2'],
      ['__proto__', 'x'],
      ['EMPTY', ''],
    ]);
  });

  it.each([[undefined], [null], [{}], [{ Env: null, Cmd: null, User: '', WorkingDir: '' }]])(
    'fills in what %j leaves out',
    (config) => {
      const workingDir = '/';
      expect(parse(config)).toEqual({
        entrypoint: [],
        command: [],
        env: {},
        user: '',
        workingDir,
        stopSignal: 15,
      });
    },
  );

  it.each([
    ['9', 9],
    ['SIGINT', 2],
    ['QUIT', 3],
    ['SIGRTMIN', 34],
    ['SIGRTMIN+30', 64],
  ])('knows the stop signal %s', (name, number) => {
    expect(parse({ StopSignal: name }).stopSignal).toBe(number);
  });

  it.each([
    { Env: ['A=\0'] },
    { Env: ['NOVALUE'] },
    { Env: ['=x'] },
    { Env: 'A=1' },
    { Env: [1] },
    { Cmd: ['a\0b'] },
    { Entrypoint: { 0: 'x' } },
    { User: 'root:x:y' },
    { User: 'a b' },
    { User: 'root\n' },
    { User: ':0:' },
    { WorkingDir: '../' },
    { WorkingDir: 'srv' },
    { WorkingDir: '/a\0' },
    { StopSignal: 'SIGNOPE' },
    { StopSignal: '0' },
    { StopSignal: '65' },
    { StopSignal: 'SIGRTMIN+31' },
    { StopSignal: 'SIGtoString' },
    [],
  ])('refuses %j', (config) => {
    expect(() => parse(config)).toThrow(expect.objectContaining({ kind: 'invalid-argument' }));
  });
});
