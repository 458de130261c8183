// Programs that go on when this process has ended: in a session of their own, with nothing of ours open.

/** What they find in their environment. */
const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }

/** Starts one and forgets it. @returns its pid; undefined when it could not be started */
export async function startInBackground(command: readonly string[]): Promise<number | undefined> {
  const { spawn } = await import('node:child_process')
  const [program = '', ...args] = command
  const child = spawn(program, args, { detached: true, stdio: 'ignore', cwd: '/', env })
  child.on('error', () => {})
  child.unref()
  return child.pid
}
