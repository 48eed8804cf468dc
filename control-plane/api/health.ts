import { DroverError } from '#shared/errors.ts';
import {
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Serving,
  type HealthService,
} from '#shared/gen/grpc/health/v1/health.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import type { HandlerContext } from './handler.ts';

/** The standard health service: what is mounted serves as long as the program answers at all. */
export function healthService(services: ReadonlySet<string>): Handlers<typeof HealthService, HandlerContext> {
  const isServing = (service: string): boolean => service === '' || services.has(service);
  return {
    async check({ service }) {
      if (isServing(service)) return { status: Serving.SERVING };
      throw new DroverError('not-found', `there is no service ${JSON.stringify(service.slice(0, 100))}`);
    },
    async *watch({ service }, { signal }): AsyncGenerator<HealthCheckResponse> {
      yield { status: isServing(service) ? Serving.SERVING : Serving.SERVICE_UNKNOWN };
      // Nothing changes while we live, and when we die the stream says it.
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    },
  };
}
