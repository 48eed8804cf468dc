import type { Backend, Observation } from '../../control-plane/backends/backend.ts';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { NodeName } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';

export interface Faults {
  /** False: every order arrives, once, and is answered. */
  isOn: boolean;
}

/**
 * A backend whose network does what networks do: an order is lost, or its answer, or it arrives twice, or
 * long after its caller gave up, or is never answered; what is observed comes late, and twice, and the
 * watch breaks.
 */
export function faultyBackend(
  inner: Backend,
  {
    clock,
    random,
    faults,
    incarnationOf,
  }: {
    readonly clock: Clock;
    readonly random: Random;
    readonly faults: Faults;
    incarnationOf(node: NodeName): string | undefined;
  },
): Backend {
  const below = (limitMs: number): number => Math.floor(random.fraction() * limitMs);

  /**
   * Delivered after its caller has stopped waiting: nobody hears what came of it. An order goes over a session,
   * and a host whose state directory was lost has another one: what was sent to the old one is lost with it.
   */
  function deliverLater(node: NodeName, call: () => Promise<unknown>): void {
    const incarnation = incarnationOf(node);
    clock.after(below(20_000), () => {
      if (incarnationOf(node) === incarnation) void call().catch(() => undefined);
    });
  }

  async function deliver<T>(
    node: NodeName,
    signal: AbortSignal,
    send: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (!faults.isOn) return send(signal);
    const late = new AbortController().signal;
    const draw = random.fraction();
    await clock.sleep(below(200), signal);
    if (draw < 0.05) throw new DroverError('unavailable', 'the order was lost');
    if (draw < 0.1) {
      await send(signal);
      throw new DroverError('unavailable', 'the answer was lost');
    }
    if (draw < 0.15) deliverLater(node, () => send(late));
    if (draw < 0.2) {
      deliverLater(node, () => send(late));
      throw new DroverError('deadline-exceeded', 'no answer in time');
    }
    if (draw < 0.23) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      throw new DroverError('deadline-exceeded', 'no answer at all');
    }
    return send(signal);
  }

  async function* watch(signal: AbortSignal): AsyncGenerator<Observation> {
    for await (const observation of inner.watch(signal)) {
      if (faults.isOn && random.fraction() < 0.3) await clock.sleep(below(500), signal);
      yield observation;
      if (!faults.isOn) continue;
      if (random.fraction() < 0.1 && observation.kind === 'instance') yield observation;
      if (random.fraction() < 0.005) throw new DroverError('unavailable', 'the watch broke');
    }
  }

  return {
    ...inner,
    watch,
    ensureInstance: (order, spec, signal) =>
      deliver(order.node, signal, (until) => inner.ensureInstance(order, spec, until)),
    removeInstance: (order, graceMs, signal) =>
      deliver(order.node, signal, (until) => inner.removeInstance(order, graceMs, until)),
    removeVolume: (node, volume, signal) =>
      deliver(node, signal, (until) => inner.removeVolume(node, volume, until)),
    resolveImage: (node, reference, credential, signal) =>
      deliver(node, signal, (until) => inner.resolveImage(node, reference, credential, until)),
  };
}
