import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import type { StartedContainer } from '../../engine/container/container-service.ts'
import { Engine } from '../../engine/engine.ts'
import { mark } from '../../lib/trace.ts'
import type { Container, ContainerSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { addContainerFlags, toContainerSpec } from '../container-flags.ts'
import { createWithPull } from '../create-with-pull.ts'
import { parseDetachKeys } from '../detach-keys.ts'
import { print, printError, SIGPIPE_EXIT_CODE } from '../print.ts'
import { forwardSignals } from '../signals.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const command = program
    .command('run')
    .description('Create a container and run a command in it. Flags end at the image.')
    .argument('<image>')
    .argument('[command...]')
    .passThroughOptions()
    .option('-d, --detach', 'leave it running and print its id')
    .option('--detach-keys <keys>', 'keys that leave a terminal; default ctrl-p,ctrl-q')
    .option('--sig-proxy', 'forward signals to it (default); --sig-proxy=false: they end only tsrun')
    .addHelpText(
      'after',
      `
Examples:
  tsrun run -net br -p 80:80 busybox sh
  tsrun run -d --name web -p 8080:80 busybox httpd -f -h /etc
  echo hello | tsrun run --rm -i busybox cat`,
    )
  return addContainerFlags(command).action(async (image: string, rest: string[], flags: Record<string, unknown>) => {
    exit(await run(image, rest, flags))
  })
}

async function run(image: string, rest: readonly string[], flags: Record<string, unknown>): Promise<number> {
  const wanted = toContainerSpec(flags, [image, ...rest])
  const detach = flags.detach === true
  const spec: ContainerSpec = { ...wanted, stdinOnce: !detach && wanted.openStdin === true }
  if (spec.tty === true && spec.openStdin === true && !detach && !process.stdin.isTTY)
    throw new TsrunError('invalid', 'no-terminal', 'cannot use -it: standard input is not a terminal', {
      hint: 'leave out -t to pipe into the container: ... | tsrun run -i',
    })
  if (detach && spec.attach !== undefined)
    throw new TsrunError('invalid', 'attach-and-detach', 'cannot use -a together with -d', {
      hint: 'choose one of them',
    })
  const keys = parseDetachKeys(flags.detachKeys as string | undefined)
  const forward = flags.sigProxy !== false
  const engine = await Engine.open()
  warnAboutPorts(spec)
  const container = await createWithPull(engine, spec, flags, { durable: false })
  let started: StartedContainer | undefined
  try {
    const size = spec.tty === true ? (await import('../terminal.ts')).terminalSize() : undefined
    const options = size === undefined ? {} : { consoleSize: size }
    if (typeof flags.cidfile === 'string') writeFileSync(flags.cidfile, container.id, { flag: 'wx' })
    if (detach) {
      await engine.containers.start(container.id, options)
      print(`${container.id}\n`)
      return 0
    }
    if (spec.tty !== true && spec.openStdin !== true) return await relay(engine, container, forward)
    started = await engine.containers.startAttached(container.id, { ...options, owner: true })
  } catch (error) {
    // The first error is the one to tell.
    await engine.containers.remove(container.id, { force: true, volumes: true }).catch(() => {})
    throw error
  } finally {
    if (started === undefined) await engine.close()
  }
  return follow(engine, started, { spec, keys, forward })
}

/** Its output goes to ours, byte for byte, until it ends; then it is ours to tear down. */
async function relay(engine: Engine, { id, spec: { attach } }: Container, forward: boolean): Promise<number> {
  let isReaderGone = false
  const onReaderGone = () => {
    isReaderGone = true
    void killUnread(engine, id)
  }
  const started = await engine.containers.startRelayed(id, {
    ...(attach === undefined || attach.includes('stdout') ? { stdout: 1 } : {}),
    ...(attach === undefined || attach.includes('stderr') ? { stderr: 2 } : {}),
    onReaderGone,
  })
  printUnseen(id, attach)
  const stopForwarding = forward
    ? forwardSignals(signal => void engine.containers.kill(id, signal).catch(() => {}))
    : () => {}
  const code = (await started.attachment.exit) ?? (await untoldCode(engine, id))
  stopForwarding()
  mark('container ended')
  await engine.containers.finish(started)
  mark('given back')
  return isReaderGone ? SIGPIPE_EXIT_CODE : code
}

/** The exit code where its monitor was killed, and it with that. With --rm whoever looks at it then removes it. */
async function untoldCode(engine: Engine, id: string): Promise<number> {
  try {
    return await engine.containers.wait(id)
  } catch (error) {
    if (error instanceof TsrunError && error.code === 'no-such-container') return 137
    throw error
  }
}

/** docker's: where no output is joined, there is its id to wait for it by. */
function printUnseen(id: string, attach: ContainerSpec['attach']): void {
  if (attach?.every(stream => stream === 'stdin') === true) print(`${id}\n`)
}

/** Nobody reads what it writes: like any command in a pipe it ends, or it would fill its log for ever. */
async function killUnread(engine: Engine, id: string): Promise<void> {
  await engine.containers.kill(id, 'KILL').catch(() => {})
}

/** Joined to the container until it ends; then it is ours to tear down. */
async function follow(
  engine: Engine,
  started: StartedContainer,
  { spec, keys, forward }: { spec: ContainerSpec; keys: Buffer; forward: boolean },
): Promise<number> {
  const { attachment, container } = started
  printUnseen(container.id, spec.attach)
  const { joinTerminal } = await import('../terminal.ts')
  const result = await joinTerminal(attachment, {
    tty: spec.tty === true,
    stdin: spec.openStdin === true && (spec.attach === undefined || spec.attach.includes('stdin')),
    ...(spec.attach === undefined ? {} : { outputs: spec.attach }),
    detachKeys: keys,
    ...(forward ? { onSignal: signal => void engine.containers.kill(container.id, signal).catch(() => {}) } : {}),
  })
  if (result.kind === 'detached') {
    // Without RELEASED the monitor keeps the teardown to itself.
    attachment.detach()
    await engine.close()
    return 0
  }
  if (result.kind === 'reader-gone') {
    await killUnread(engine, container.id)
    await engine.containers.finish(started)
    return SIGPIPE_EXIT_CODE
  }
  mark('container ended')
  const code = result.code ?? (await untoldCode(engine, container.id))
  await engine.containers.finish(started)
  mark('given back')
  await engine.close()
  return code
}

function warnAboutPorts(spec: ContainerSpec): void {
  const mode = spec.networks?.[0]?.network ?? ''
  if ((spec.publish?.length ?? 0) === 0 || (mode !== 'host' && mode !== 'none')) return
  printError(`tsrun: warning: published ports mean nothing on network "${mode}"\n`)
}
