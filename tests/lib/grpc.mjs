// A gRPC client that knows of a service only what the server tells of itself by reflection.
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import grpc from '@grpc/grpc-js'
import loader from '@grpc/proto-loader'

const { parse } = createRequire(import.meta.resolve('@grpc/proto-loader'))('protobufjs')
const OPTIONS = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true }

// What is needed of grpc.reflection; v1 and v1alpha are the same but for the name.
const reflection = (version) => `
  syntax = "proto3";
  package grpc.reflection.${version};
  service ServerReflection {
    rpc ServerReflectionInfo(stream ServerReflectionRequest) returns (stream ServerReflectionResponse);
  }
  message ServerReflectionRequest {
    oneof message_request {
      string file_by_filename = 3;
      string file_containing_symbol = 4;
      string list_services = 7;
    }
  }
  message ServerReflectionResponse {
    FileDescriptorResponse file_descriptor_response = 4;
    ListServiceResponse list_services_response = 6;
    ErrorResponse error_response = 7;
  }
  message FileDescriptorResponse { repeated bytes file_descriptor_proto = 1; }
  message ListServiceResponse { repeated ServiceResponse service = 1; }
  message ServiceResponse { string name = 1; }
  message ErrorResponse { int32 error_code = 1; string error_message = 2; }`

/** The address of a server for gRPC. */
const target = (server) => new URL(server.url).host

/** Asks a server about itself. */
export async function reflect(server, requests, version = 'v1') {
  const root = parse(reflection(version), { keepCase: true }).root
  const types = grpc.loadPackageDefinition(loader.fromJSON(root.toJSON(), OPTIONS))
  const Client = types.grpc.reflection[version].ServerReflection
  const client = new Client(target(server), grpc.credentials.createInsecure())
  const stream = client.ServerReflectionInfo()
  for (const request of requests) stream.write(request)
  stream.end()
  const answers = await Array.fromAsync(stream)
  client.close()
  return answers
}

/** Clients of services, `{ PinService, … }` by their short names, made of what the server tells. */
export async function clients(server, symbols) {
  const files = new Set()
  const wanted = symbols.map((symbol) => ({ file_containing_symbol: symbol }))
  for (const answer of await reflect(server, wanted)) {
    if (!answer.file_descriptor_response) throw new Error(answer.error_response.error_message)
    for (const file of answer.file_descriptor_response.file_descriptor_proto) files.add(file.toString('base64'))
  }
  // What they import.
  const imports = ['google/protobuf/timestamp.proto', 'google/protobuf/duration.proto']
  for (const answer of await reflect(server, imports.map((name) => ({ file_by_filename: name })))) {
    for (const file of answer.file_descriptor_response.file_descriptor_proto) files.add(file.toString('base64'))
  }
  const set = Buffer.concat([...files].flatMap((text) => field(1, Buffer.from(text, 'base64'))))
  const types = grpc.loadPackageDefinition(loader.loadFileDescriptorSetFromBuffer(set, OPTIONS))
  const made = {}
  for (const symbol of symbols) {
    const Client = symbol.split('.').reduce((at, name) => at[name], types)
    made[symbol.split('.').at(-1)] = new Client(target(server), grpc.credentials.createInsecure())
  }
  return made
}

/** A field of bytes in protobuf. */
function field(number, bytes) {
  const length = []
  let n = bytes.length
  for (; n >= 0x80; n = Math.floor(n / 128)) length.push((n & 0x7f) | 0x80)
  return [Buffer.from([(number << 3) | 2, ...length, n]), bytes]
}

/** Metadata of a caller. */
export function as(key) {
  const metadata = new grpc.Metadata()
  if (key) metadata.set('authorization', `Bearer ${key}`)
  return metadata
}

/** A unary call as a promise. */
export const call = (client, method, message, key, options = {}) =>
  promisify(client[method].bind(client))(message, as(key), options)

/** All messages of a stream of answers. */
export const all = (client, method, message, key) => Array.fromAsync(client[method](message, as(key)))

export const Code = grpc.status
