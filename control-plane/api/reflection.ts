import { BinaryReader } from '@bufbuild/protobuf/wire';
import { status } from '@grpc/grpc-js';
import { descriptorSet } from '#shared/gen/descriptor.ts';
import type {
  ServerReflectionRequest,
  ServerReflectionResponse,
  ServerReflectionService,
} from '#shared/gen/grpc/reflection/v1/reflection.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import type { HandlerContext } from './handler.ts';

/** A FileDescriptorProto as it stands in the set, and what of it reflection asks for. */
interface File {
  readonly encoded: Uint8Array;
  readonly name: string;
  readonly imports: readonly string[];
  /** Full names of services, methods, messages and enums. */
  readonly symbols: readonly string[];
}

/** Field numbers of google/protobuf/descriptor.proto. */
const fields = {
  set: { file: 1 },
  file: { name: 1, package: 2, dependency: 3, message: 4, enum: 5, service: 6 },
  message: { name: 1, nested: 3, enum: 4 },
  service: { name: 1, method: 2 },
} as const;

/** The standard reflection service, from the descriptors that are part of the program: no file is read. */
export function reflectionService(
  services: ReadonlySet<string>,
): Handlers<typeof ServerReflectionService, HandlerContext> {
  const files = readMessage(Buffer.from(descriptorSet, 'base64')).all(fields.set.file).map(parseFile);
  const byName = new Map(files.map((file) => [file.name, file]));
  const bySymbol = new Map(files.flatMap((file) => file.symbols.map((symbol) => [symbol, file] as const)));

  /** The file and all that it imports, itself first. */
  function withImports(file: File, seen = new Set<File>()): Set<File> {
    if (seen.has(file)) return seen;
    seen.add(file);
    for (const name of file.imports) {
      const imported = byName.get(name);
      if (imported !== undefined) withImports(imported, seen);
    }
    return seen;
  }

  function answer({ messageRequest }: ServerReflectionRequest): ServerReflectionResponse['messageResponse'] {
    switch (messageRequest?.$case) {
      case 'listServices': {
        const service = [...services].toSorted().map((name) => ({ name }));
        return { $case: 'listServicesResponse', value: { service } };
      }
      case 'fileByFilename':
        return fileAnswer(byName.get(messageRequest.value), messageRequest.value);
      case 'fileContainingSymbol':
        return fileAnswer(bySymbol.get(messageRequest.value), messageRequest.value);
      case 'allExtensionNumbersOfType':
      case 'fileContainingExtension':
        return failure(status.NOT_FOUND, 'there are no extensions');
      default:
        return failure(status.UNIMPLEMENTED, 'this question is not known');
    }
  }

  function fileAnswer(file: File | undefined, asked: string): ServerReflectionResponse['messageResponse'] {
    if (file === undefined) return failure(status.NOT_FOUND, `not found: ${asked.slice(0, 200)}`);
    const fileDescriptorProto = [...withImports(file)].map(({ encoded }) => encoded);
    return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
  }

  return {
    async *serverReflectionInfo(requests): AsyncGenerator<ServerReflectionResponse> {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request) };
      }
    },
  };
}

const failure = (errorCode: number, errorMessage: string): ServerReflectionResponse['messageResponse'] => ({
  $case: 'errorResponse',
  value: { errorCode, errorMessage },
});

interface Fields {
  all(field: number): Uint8Array[];
  text(field: number): string;
}

/** The length-delimited fields of one message; nothing else is needed here. */
function readMessage(bytes: Uint8Array): Fields {
  const found: [number, Uint8Array][] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType === 2) found.push([field, reader.bytes()]);
    else reader.skip(wireType, field);
  }
  const all = (wanted: number): Uint8Array[] =>
    found.filter(([field]) => field === wanted).map(([, value]) => value);
  return { all, text: (field) => Buffer.from(all(field)[0] ?? []).toString() };
}

function parseFile(encoded: Uint8Array): File {
  const file = readMessage(encoded);
  const scope = file.text(fields.file.package);
  return {
    encoded,
    name: file.text(fields.file.name),
    imports: file.all(fields.file.dependency).map((name) => Buffer.from(name).toString()),
    symbols: [
      ...file.all(fields.file.message).flatMap((one) => messageSymbols(one, scope)),
      ...file.all(fields.file.enum).map((one) => nameIn(scope, one)),
      ...file.all(fields.file.service).flatMap((one) => serviceSymbols(one, scope)),
    ],
  };
}

const nameIn = (scope: string, bytes: Uint8Array): string => `${scope}.${readMessage(bytes).text(1)}`;

function messageSymbols(bytes: Uint8Array, scope: string): string[] {
  const name = nameIn(scope, bytes);
  const message = readMessage(bytes);
  return [
    name,
    ...message.all(fields.message.nested).flatMap((one) => messageSymbols(one, name)),
    ...message.all(fields.message.enum).map((one) => nameIn(name, one)),
  ];
}

function serviceSymbols(bytes: Uint8Array, scope: string): string[] {
  const name = nameIn(scope, bytes);
  const methods = readMessage(bytes).all(fields.service.method);
  return [name, ...methods.map((method) => nameIn(name, method))];
}
