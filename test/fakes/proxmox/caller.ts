/** Who calls, as authenticated. */
export interface Caller {
  /** "alice@pve". */
  readonly user: string;
  /** The name of the token: "t1". Undefined for tickets. */
  readonly token?: string;
  /** "alice@pve!t1", or the user: what UPIDs and the log name. */
  readonly authId: string;
}

/** root@pam with a ticket: HA and the node itself act as this. */
export const rootCaller: Caller = { user: 'root@pam', authId: 'root@pam' };

/** A token has its own tasks alone; its user has those too. */
export const owns = (caller: Caller, task: { readonly caller: Caller }): boolean =>
  task.caller.authId === caller.authId || task.caller.user === caller.authId;
