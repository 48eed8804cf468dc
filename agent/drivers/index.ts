import { crunDriver } from './crun.ts';
import type { RuntimeDriverFactory } from './driver.ts';
import { lxcDriver } from './lxc.ts';

/** Every way this agent can run a guest; the name is what specs say. */
export const runtimeDrivers: Readonly<Record<string, RuntimeDriverFactory>> = {
  crun: (context) => crunDriver(context),
  lxc: (context) => lxcDriver(context),
};
