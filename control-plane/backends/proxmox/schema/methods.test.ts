import { describe, expectTypeOf, it } from 'vitest';
import type { LxcNet, MethodName, ParametersOf } from './methods.ts';

type Create = ParametersOf<'POST /nodes/{node}/lxc'>;

describe('types of the methods', () => {
  it('are those of the schema', () => {
    expectTypeOf<'POST /nodes/{node}/lxc'>().toExtend<MethodName>();
    expectTypeOf<'POST /nodes/{node}/nope'>().not.toExtend<MethodName>();
    expectTypeOf<Create['vmid']>().toEqualTypeOf<number>();
    expectTypeOf<Create['unprivileged']>().toEqualTypeOf<boolean | undefined>();
    expectTypeOf<Create['cmode']>().toEqualTypeOf<'shell' | 'console' | 'tty' | undefined>();
    expectTypeOf<Create['net0']>().toEqualTypeOf<LxcNet | string | undefined>();
    expectTypeOf<Create>().not.toHaveProperty('nett0');
    expectTypeOf<{ node: string; vmid: number }>().not.toExtend<Create>();
    expectTypeOf<{ node: string; vmid: number; ostemplate: string }>().toExtend<Create>();
  });
});
