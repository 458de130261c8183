import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import type { SystemInfo } from '../../engine/system-info.ts'
import { renderRow } from '../format.ts'
import { print } from '../print.ts'
import { formatBinaryBytes } from '../table.ts'
import { version } from '../version.ts'

export function register(program: Command): Command {
  return addInfo(program)
}

/** Also `system info`. */
export function addInfo(parent: Command): Command {
  return parent
    .command('info')
    .description('Show what tsrun has here and what it runs on.')
    .option('-f, --format <format>', 'json, or a Go template')
    .addHelpText('after', "\nExample:\n  tsrun info --format '{{.ContainersRunning}} of {{.Containers}} run'")
    .action(async (flags: { format?: string }) => {
      await using engine = await Engine.open()
      const info = await engine.info()
      if (flags.format) print(`${renderRow(flags.format)(toDocker(info))}\n`)
      else print(toText(info))
    })
}

/** docker's fields, as far as tsrun has what they name. */
function toDocker(info: SystemInfo): Record<string, unknown> {
  const { running, paused, stopped } = info.containers
  return {
    Containers: running + paused + stopped,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: stopped,
    Images: info.images,
    Driver: 'overlay2',
    LoggingDriver: 'json-file',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: info.cgroupMode === 'v2' ? '2' : '1',
    KernelVersion: info.kernelVersion,
    OperatingSystem: info.operatingSystem,
    OSType: 'linux',
    Architecture: info.architecture,
    NCPU: info.cpus,
    MemTotal: info.memoryBytes,
    DockerRootDir: info.rootDir,
    StateDir: info.stateDir,
    Name: info.hostname,
    ServerVersion: version,
    DefaultRuntime: 'tsrun-init',
    LiveRestoreEnabled: true,
    SecurityOptions: info.securityOptions,
    Swarm: { LocalNodeState: 'inactive' },
    Warnings: null,
  }
}

function toText(info: SystemInfo): string {
  const { running, paused, stopped } = info.containers
  return `Version: ${version}
Containers: ${running + paused + stopped}
 Running: ${running}
 Paused: ${paused}
 Stopped: ${stopped}
Images: ${info.images}
Storage Driver: overlay2
Logging Driver: json-file
Cgroup Driver: cgroupfs
Cgroup Version: ${info.cgroupMode === 'v2' ? '2' : '1'}${info.cgroupMode === 'hybrid' ? ' (hybrid)' : ''}
Security Options:
${info.securityOptions.map(option => ` ${option.replace(/^name=/, '')}`).join('\n')}
Kernel Version: ${info.kernelVersion}
Operating System: ${info.operatingSystem}
OSType: linux
Architecture: ${info.architecture}
CPUs: ${info.cpus}
Total Memory: ${formatBinaryBytes(info.memoryBytes)}
Name: ${info.hostname}
Root Dir: ${info.rootDir}
State Dir: ${info.stateDir}
`
}
