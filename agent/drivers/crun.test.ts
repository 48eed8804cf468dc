import { runtimeDriverConformance } from '../../test/conformance/runtime-driver.ts';
import { setUpCrun } from '../../test/crun-host.ts';

// Fails where crun, conmon or busybox are missing: apt-get install crun conmon busybox-static.
runtimeDriverConformance('crun', setUpCrun);
