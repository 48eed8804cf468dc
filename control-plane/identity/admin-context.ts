import path from 'node:path';
import { stringify } from 'yaml';
import { type Authority, readIfThere, writePrivateFile } from './authority.ts';

/**
 * Writes the administrator's context once: whoever reads STATE/admin.yaml rules the fleet, so it is readable
 * for its owner alone. A file that was taken away is not made again. Answers whether it was written.
 */
export async function writeAdminContext(options: {
  readonly stateDir: string;
  readonly authority: Authority;
  readonly address: string;
}): Promise<boolean> {
  const { stateDir, authority, address } = options;
  const file = path.join(stateDir, 'admin.yaml');
  const mark = path.join(stateDir, 'ca', 'admin.serial');
  if ((await readIfThere(mark)) !== undefined) return false;
  const { certificate, keyPem } = await authority.issueWithKey({ role: 'admin', name: 'root' });
  const context = {
    name: 'default',
    address,
    ca: authority.certificate.pem,
    certificate: certificate.pem,
    key: keyPem,
  };
  await writePrivateFile(file, stringify(context));
  await writePrivateFile(mark, `${certificate.serial}\n`);
  return true;
}
