import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as protocol from '../../src/kernel/init-protocol.ts'
import { repository } from './harness.ts'

test('native/bootstrap-tags.h holds every number of init-protocol.ts and no other', () => {
  const { BOOTSTRAP, TAG, FLAG, MOUNT_OPTION, MESSAGE, FRAME, SUBSCRIPTION, FRAME_LIMIT } = protocol
  const wanted: Record<string, number> = {}
  const tables = { BOOTSTRAP, TAG, FLAG, MOUNT_OPTION, MESSAGE, FRAME, SUBSCRIPTION, FRAME_LIMIT }
  for (const [table, numbers] of Object.entries(tables))
    for (const [name, value] of Object.entries(numbers)) wanted[`${table}_${name}`] = value

  const header = readFileSync(join(repository, 'native/bootstrap-tags.h'), 'utf8')
  const found = Object.fromEntries(
    [...header.matchAll(/#define (\w+) (\w+)/g)].map(([, name, value]) => [name, Number(value)]),
  )

  expect(found).toEqual(wanted)
})

test('gen-tags.mjs --check accepts the header', () => {
  execFileSync('node', [join(repository, 'native/gen-tags.mjs'), '--check'])
})

test('FrameDecoder finds the same frames however the stream is cut', () => {
  const stream = Buffer.concat([
    protocol.encodeFrame(protocol.FRAME.STDOUT, Buffer.from('hello ')),
    protocol.encodeFrame(protocol.FRAME.STDERR, Buffer.from('!')),
    protocol.encodeFrame(protocol.FRAME.STDOUT, Buffer.from('world')),
    protocol.encodeFrame(protocol.FRAME.EXIT, Buffer.from([0, 0, 0, 42])),
  ])
  for (let size = 1; size <= stream.length; size++) {
    const decoder = new protocol.FrameDecoder()
    const frames: protocol.Frame[] = []
    for (let at = 0; at < stream.length; at += size) frames.push(...decoder.push(stream.subarray(at, at + size)))

    const text = (type: number): string =>
      Buffer.concat(frames.filter(frame => frame.type === type).map(frame => frame.payload)).toString('latin1')
    expect([text(protocol.FRAME.STDOUT), text(protocol.FRAME.STDERR)]).toEqual(['hello world', '!'])
    expect(protocol.parseExit(frames.at(-1)?.payload ?? Buffer.alloc(4))).toBe(42)
  }
})

test.each([
  ['an unknown type', [77, 0, 0, 0, 0, 0, 0, 0]],
  ['a huge payload', [1, 0, 0, 0, 255, 0, 0, 0]],
  ['a huge control frame', [7, 0, 0, 0, 0, 1, 0, 0]],
])('FrameDecoder refuses %s', (_, bytes) => {
  expect(() => new protocol.FrameDecoder().push(Buffer.from(bytes))).toThrow(/frame of type/)
})

test('encodeBootstrap refuses a NUL byte, which would cut a string short', () => {
  const config = { process: { args: ['a\0b'] } } as unknown as protocol.InitConfig
  expect(() =>
    protocol.encodeBootstrap({ ...minimal, process: { ...minimal.process, args: config.process.args } }),
  ).toThrow(/NUL/)
})

const minimal: protocol.InitConfig = {
  mode: 'run',
  id: 'x',
  process: {
    args: ['true'],
    env: [],
    cwd: '/',
    uid: 0,
    gid: 0,
    additionalGids: [],
    tty: false,
    stdin: false,
    stdinOnce: false,
    init: false,
    noNewPrivileges: false,
    capabilities: { bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n },
    rlimits: [],
  },
  namespaces: { create: [], join: [] },
  netnsFd: false,
  cgroup: { procsFiles: [] },
  uidMappings: [],
  gidMappings: [],
  sysctls: [],
  mounts: [],
  devices: [],
  symlinks: [],
  maskedPaths: [],
  readonlyPaths: [],
  monitor: { exitCommand: [], exitEnv: [], oomFiles: [], reservedPorts: [] },
}
