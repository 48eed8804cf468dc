import type { InstanceId } from '#shared/model.ts';

/**
 * The host's end of a guest's interface: "drv", ten digits of the id's random tail, and the place of its
 * attachment. 14 characters; the kernel takes 15. Whoever makes interfaces or removes them calls them so.
 */
export const hostInterfaceName = (id: InstanceId, place: number): string => `drv${id.slice(-10)}${place}`;
