import { describe, expect, it } from 'vitest';
import { demand, nodeView } from '../../../test/fakes/scheduling.ts';
import { imagePresent } from './image-present.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const wanted = demand({ image: `registry.example/web@${digest}` });
const rows = [
  {
    title: 'prefers the node that has the digest',
    wanted,
    better: nodeView('a', { images: new Set([digest]) }),
    worse: nodeView('b', { images: new Set(['sha256:other']) }),
  },
];

describe('image-present', () => {
  it.each(rows)('$title', ({ wanted, better, worse }) => {
    const [high, low] = [imagePresent.rate(wanted, better), imagePresent.rate(wanted, worse)];
    expect(high).toBeGreaterThan(low);
    for (const rate of [high, low]) expect(rate >= 0 && rate <= 100).toBe(true);
  });

  it('says nothing while the image is not resolved', () => {
    expect(imagePresent.weight(demand())).toBe(0);
  });
});
