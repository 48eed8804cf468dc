import { runtimeDriverConformance } from '../../test/conformance/runtime-driver.ts';
import { setUpLxc } from '../../test/lxc-host.ts';

// Fails where LXC or busybox are missing: apt-get install lxc busybox-static.
runtimeDriverConformance('lxc', setUpLxc);
