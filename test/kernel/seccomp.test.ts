import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seccompProgram } from '../../src/drivers/runtime/default-seccomp.ts'
import { capabilityMask, defaultCapabilities } from '../../src/kernel/capabilities.ts'
import { start } from '../helpers/command.ts'

// Loads the program into a child the way tsrun-init does, then lets it try system calls.
const loader = `
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
program = open(sys.argv[1], 'rb').read()
class Program(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_char_p)]
def call(*args):
    return 'ok' if libc.syscall(*args) >= 0 else errno.errorcode[ctypes.get_errno()]
fprog = Program(len(program) // 8, program)
if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.syscall(317, 1, 0, ctypes.byref(fprog)) != 0: sys.exit('not loaded')
for line in sys.argv[2:]:
    print(call(*[ctypes.c_long(int(word, 0)) for word in line.split()]))
if os.fork() == 0: os._exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
`

describe.skipIf(process.geteuid?.() !== 0 || process.arch !== 'x64')('seccomp', () => {
  let dir = ''
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'tsrun-seccomp-'))
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  async function results(capabilities: readonly string[], calls: readonly string[]): Promise<string[]> {
    const path = join(dir, 'program')
    writeFileSync(path, seccompProgram(join(dir, 'cache'), { capabilities: capabilityMask(capabilities) }))
    const { stdout, stderr } = await start(['python3', '-c', loader, path, ...calls]).result
    expect(stderr).toBe('')
    return stdout.trim().split('\n')
  }

  test('the kernel takes the default program, and a process under it meets EPERM, ENOSYS and its freedom', async () => {
    const calls = ['39', '272 0x10000000', '165 0 0 0 0 0', '435 0 0', '425 1 0', '41 38 5 0', '41 2 1 0', '9999']

    expect(await results(defaultCapabilities, calls)).toEqual([
      'ok', // getpid
      'EPERM', // unshare(CLONE_NEWUSER)
      'EPERM', // mount
      'ENOSYS', // clone3
      'EPERM', // io_uring_setup
      'EPERM', // socket(AF_ALG)
      'ok', // socket(AF_INET)
      'ENOSYS', // no such call yet
      '7', // fork and exit
    ])
  })

  test('CAP_SYS_ADMIN opens unshare', async () => {
    expect(await results([...defaultCapabilities, 'CAP_SYS_ADMIN'], ['272 0x04000000'])).toEqual(['ok', '7'])
  })
})
