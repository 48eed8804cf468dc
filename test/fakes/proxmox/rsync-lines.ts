/** What the copy of a container tells in the end. */
export const rsyncLines = [
  'Number of files: 307 (reg: 12, dir: 25, link: 270)',
  'Number of created files: 306 (reg: 12, dir: 24, link: 270)',
  'Number of deleted files: 0',
  'Number of regular files transferred: 12',
  'Total file size: 1,985,194 bytes',
  'Total transferred file size: 1,983,249 bytes',
  'Literal data: 1,983,249 bytes',
  'Matched data: 0 bytes',
  'File list size: 0',
  'File list generation time: 0.001 seconds',
  'File list transfer time: 0.000 seconds',
  'Total bytes sent: 1,991,850',
  'Total bytes received: 1,161',
  '',
  'sent 1,991,850 bytes  received 1,161 bytes  3,986,022.00 bytes/sec',
  'total size is 1,985,194  speedup is 1.00',
];
