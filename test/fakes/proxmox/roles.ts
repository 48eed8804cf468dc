/** The roles that Proxmox brings, as both versions list them. */

const words = (text: string): string[] => text.trim().split(/\s+/);

const configures = words(`VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType
  VM.Config.Memory VM.Config.Network VM.Config.Options`);
const guests = words(`VM.Allocate VM.Audit VM.Backup VM.Clone VM.Console VM.Migrate VM.PowerMgmt VM.Snapshot
  VM.Snapshot.Rollback`);
const agentFiles = words('VM.GuestAgent.Audit VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt');
const guestsBefore9 = ['VM.Monitor'];
const guestsSince9 = [...agentFiles, 'VM.GuestAgent.FileWrite', 'VM.GuestAgent.Unrestricted', 'VM.Replicate'];
const datastores = words(
  'Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit',
);
const people = words('Group.Allocate Realm.AllocateUser User.Modify');
const system = words('Sys.Audit Sys.Console Sys.Syslog');
const pools = words('Pool.Allocate Pool.Audit');
const networks = words('SDN.Allocate SDN.Audit SDN.Use');
const administratorOnly =
  words(`Mapping.Modify Permissions.Modify Realm.Allocate Sys.AccessNetwork Sys.Incoming
  Sys.Modify Sys.PowerMgmt`);

export function specialRoles(major: number): Readonly<Record<string, readonly string[]>> {
  const ofGuests = [...guests, ...configures, ...(major >= 9 ? guestsSince9 : guestsBefore9)];
  const most = [...datastores, ...people, ...system, ...pools, ...networks, ...ofGuests];
  const administrator = [...most, 'Mapping.Audit', 'Mapping.Use'];
  const audits = words('Datastore.Audit Mapping.Audit Pool.Audit SDN.Audit Sys.Audit VM.Audit');
  const using = words('VM.Audit VM.Backup VM.Config.CDROM VM.Config.Cloudinit VM.Console VM.PowerMgmt');
  return {
    Administrator: [...administrator, ...administratorOnly],
    NoAccess: [],
    PVEAdmin: administrator,
    PVEAuditor: major >= 9 ? [...audits, 'VM.GuestAgent.Audit'] : audits,
    PVEDatastoreAdmin: datastores,
    PVEDatastoreUser: ['Datastore.AllocateSpace', 'Datastore.Audit'],
    PVEMappingAdmin: ['Mapping.Audit', 'Mapping.Modify', 'Mapping.Use'],
    PVEMappingUser: ['Mapping.Audit', 'Mapping.Use'],
    PVEPoolAdmin: pools,
    PVEPoolUser: ['Pool.Audit'],
    PVESDNAdmin: networks,
    PVESDNUser: ['SDN.Audit', 'SDN.Use'],
    PVESysAdmin: system,
    PVETemplateUser: ['VM.Audit', 'VM.Clone'],
    PVEUserAdmin: people,
    PVEVMAdmin: ofGuests,
    PVEVMUser: major >= 9 ? [...using, ...agentFiles, 'VM.GuestAgent.FileWrite'] : using,
  };
}
