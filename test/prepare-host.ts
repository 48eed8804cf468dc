/** Once around all tests: containers need what the quickstart prepares, too. Without root nothing is touched. */
import { prepareHost } from '../scripts/host.ts';

let undo = (): void => {};

export function setup(): void {
  if (process.getuid?.() === 0) undo = prepareHost((line) => console.error(line));
}

export function teardown(): void {
  undo();
}
