import { destination, pino } from 'pino';

/**
 * `event` is noun.past-participle and holds no values; they go into the other fields. `err` keeps its causes.
 */
export interface LogFields {
  readonly event: string;
  readonly [field: string]: unknown;
}

/**
 * debug: one guest's details · info: the world changed · warn: odd but handled · error: a person should look.
 */
export interface Log {
  with(fields: Readonly<Record<string, unknown>>): Log;
  debug(fields: LogFields): void;
  info(fields: LogFields): void;
  warn(fields: LogFields): void;
  error(fields: LogFields): void;
}

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/**
 * JSON lines on standard error or output. Values are escaped by JSON, so a user's text never becomes a line.
 */
export function createLog(
  options: { readonly level?: LogLevel; readonly to?: 'stdout' | 'stderr' } = {},
): Log {
  const { level = 'info', to = 'stderr' } = options;
  const fd = to === 'stdout' ? 1 : 2;
  return wrap(
    pino({ level, base: null, redact: ['secret', 'token', 'key'] }, destination({ fd, sync: true })),
  );
}

type Pino = ReturnType<typeof pino>;

function wrap(logger: Pino): Log {
  const at = (level: 'debug' | 'info' | 'warn' | 'error') => {
    return ({ event, ...fields }: LogFields): void => logger[level](fields, event);
  };
  return {
    with: (fields) => wrap(logger.child(fields)),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  };
}

export const silentLog: Log = createLog({ level: 'silent' });
