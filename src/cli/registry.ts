// Every verb, in one table: its name, what it is for, and where its code is. Nothing here loads that code.

import type { Command } from 'commander'

export interface VerbModule {
  /**
   * Declares the verb on `program`.
   * @param exit sets the exit code where it is not 0
   */
  register(program: Command, exit: (code: number) => void): Command
}

export interface VerbEntry {
  readonly name: string
  readonly aliases?: readonly string[]
  readonly summary: string
  readonly hidden?: boolean
  /** It takes --explain and --dry-run: see explain-flags.ts. */
  readonly changesMachine?: boolean
  load(): Promise<VerbModule>
}

export const commandGroups: readonly { readonly title: string; readonly commands: readonly VerbEntry[] }[] = [
  {
    title: 'Containers',
    commands: [
      {
        name: 'run',
        changesMachine: true,
        summary: 'create a container and run a command in it',
        load: () => import('./commands/run.ts'),
      },
      {
        name: 'create',
        changesMachine: true,
        summary: 'create a container',
        load: () => import('./commands/create.ts'),
      },
      { name: 'start', changesMachine: true, summary: 'start containers', load: () => import('./commands/start.ts') },
      {
        name: 'stop',
        changesMachine: true,
        summary: 'stop containers: ask, then kill',
        load: () => import('./commands/stop.ts'),
      },
      {
        name: 'restart',
        changesMachine: true,
        summary: 'stop and start containers',
        load: () => import('./commands/restart.ts'),
      },
      {
        name: 'kill',
        changesMachine: true,
        summary: 'send a signal to containers',
        load: () => import('./commands/kill.ts'),
      },
      { name: 'rm', changesMachine: true, summary: 'remove containers', load: () => import('./commands/rm.ts') },
      {
        name: 'pause',
        changesMachine: true,
        summary: 'freeze all processes of containers',
        load: () => import('./commands/pause.ts'),
      },
      {
        name: 'unpause',
        changesMachine: true,
        summary: 'let frozen containers go on',
        load: () => import('./commands/unpause.ts'),
      },
      { name: 'rename', summary: 'give a container another name', load: () => import('./commands/rename.ts') },
      {
        name: 'update',
        changesMachine: true,
        summary: 'change limits and restart policy of containers',
        load: () => import('./commands/update.ts'),
      },
      { name: 'stats', summary: 'show what containers use', load: () => import('./commands/stats.ts') },
      { name: 'top', summary: 'list the processes of a container', load: () => import('./commands/top.ts') },
      {
        name: 'wait',
        summary: 'wait for containers to end and print their exit codes',
        load: () => import('./commands/wait.ts'),
      },
      { name: 'ps', summary: 'list containers', load: () => import('./commands/ps.ts') },
      { name: 'logs', summary: 'show what a container wrote', load: () => import('./commands/logs.ts') },
      {
        name: 'exec',
        changesMachine: true,
        summary: 'run a further command in a container',
        load: () => import('./commands/exec.ts'),
      },
      {
        name: 'attach',
        summary: 'join the streams of a running container',
        load: () => import('./commands/attach.ts'),
      },
      { name: 'inspect', summary: 'show everything about containers', load: () => import('./commands/inspect.ts') },
      {
        name: 'cp',
        summary: 'copy files between a container and the host',
        load: () => import('./commands/cp.ts'),
      },
      { name: 'commit', summary: "make an image of a container's changes", load: () => import('./commands/commit.ts') },
      { name: 'diff', summary: 'list what a container has changed', load: () => import('./commands/diff.ts') },
      {
        name: 'export',
        summary: "write a container's file system as a tar archive",
        load: () => import('./commands/export.ts'),
      },
      { name: 'port', summary: 'list the published ports of a container', load: () => import('./commands/port.ts') },
    ],
  },
  {
    title: 'Images, networks, volumes',
    commands: [
      { name: 'build', summary: 'build an image from a Dockerfile', load: () => import('./commands/build.ts') },
      {
        name: 'builder',
        summary: 'clean up what builds keep for the next ones',
        load: () => import('./commands/builder.ts'),
      },
      { name: 'images', summary: 'list images', load: () => import('./commands/images.ts') },
      { name: 'search', summary: 'find images in the local store', load: () => import('./commands/search.ts') },
      { name: 'rmi', summary: 'remove images', load: () => import('./commands/rmi.ts') },
      { name: 'pull', summary: 'get an image from a registry', load: () => import('./commands/pull.ts') },
      { name: 'push', summary: 'give an image to a registry', load: () => import('./commands/push.ts') },
      {
        name: 'manifest',
        summary: 'show what a registry has under a name',
        load: () => import('./commands/manifest.ts'),
      },
      { name: 'login', summary: 'log in to a registry', load: () => import('./commands/login.ts') },
      { name: 'logout', summary: 'forget the credentials for a registry', load: () => import('./commands/logout.ts') },
      { name: 'load', summary: 'read images from an archive', load: () => import('./commands/load.ts') },
      { name: 'save', summary: 'write images to an archive', load: () => import('./commands/save.ts') },
      {
        name: 'import',
        summary: 'make an image of a root file system archive',
        load: () => import('./commands/import.ts'),
      },
      { name: 'tag', summary: 'give an image a further name', load: () => import('./commands/tag.ts') },
      { name: 'history', summary: 'show the steps of an image', load: () => import('./commands/history.ts') },
      {
        name: 'network',
        changesMachine: true,
        summary: 'create, list, inspect and remove networks',
        load: () => import('./commands/network.ts'),
      },
      {
        name: 'volume',
        summary: 'create, list, inspect and remove volumes',
        load: () => import('./commands/volume.ts'),
      },
    ],
  },
  {
    title: 'System',
    commands: [
      {
        name: 'completion',
        summary: 'print a completion script for a shell',
        load: async () => (await import('./commands/completion.ts')).completion(allCommands),
      },
      {
        name: 'doctor',
        summary: 'report what this machine lacks, and how to get it',
        load: () => import('./commands/doctor.ts'),
      },
      { name: 'events', summary: 'show what happens, as it happens', load: () => import('./commands/events.ts') },
      { name: 'info', summary: 'show what tsrun has here and runs on', load: () => import('./commands/info.ts') },
      { name: 'system', changesMachine: true, summary: 'clean up', load: () => import('./commands/system.ts') },
      { name: 'version', summary: 'show the version', load: () => import('./commands/version.ts') },
      {
        name: 'container-prune',
        hidden: true,
        summary: 'tsrun container prune',
        load: () => import('./commands/container-prune.ts'),
      },
      {
        name: 'image-prune',
        hidden: true,
        summary: 'tsrun image prune',
        load: () => import('./commands/image-prune.ts'),
      },
      {
        name: 'health-check',
        hidden: true,
        summary: 'called by health loops',
        load: () => import('./commands/health-check.ts'),
      },
      {
        name: 'lease-changed',
        hidden: true,
        summary: 'called by keepers of leases',
        load: () => import('./commands/lease-changed.ts'),
      },
      {
        name: 'exec-ended',
        hidden: true,
        summary: 'called by monitors',
        load: () => import('./commands/exec-ended.ts'),
      },
      {
        name: 'container-ended',
        hidden: true,
        summary: 'called by monitors',
        load: () => import('./commands/container-ended.ts'),
      },
    ],
  },
]

/** The verb of that name or alias. */
export function findCommand(name: string): VerbEntry | undefined {
  return allCommands().find(c => c.name === name || c.aliases?.includes(name))
}

function allCommands(): readonly VerbEntry[] {
  return commandGroups.flatMap(group => group.commands)
}
