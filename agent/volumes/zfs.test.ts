import { afterAll, beforeAll } from 'vitest';
import { volumeDriverConformance } from '../../test/conformance/volume-driver.ts';
import { openZfsHost, type ZfsHost } from '../../test/zfs-host.ts';
import { openZfsWorld } from '../../test/zfs-world.ts';

let host: ZfsHost;
beforeAll(async () => {
  host = await openZfsHost();
});
afterAll(() => host[Symbol.asyncDispose]());

volumeDriverConformance('zfs', () => openZfsWorld(host));
volumeDriverConformance('zfs with images of other ids', () => openZfsWorld(host, true));
