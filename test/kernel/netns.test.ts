import { closeSync, openSync } from 'node:fs'
import { afterEach, expect, test, vi } from 'vitest'
import { createNetns, openNetnsSocket, runInNetns } from '../../src/kernel/netns.ts'
import { closeBox, currentNetns, describeInNetns, linkNames, newBox, openDescriptors, run } from './netlink-world.ts'

describeInNetns('netns', () => {
  afterEach(() => {
    vi.unstubAllEnvs()
    vi.resetModules()
  })

  test('createNetns() makes another namespace and comes back', () => {
    const home = currentNetns()

    const box = newBox()

    expect(currentNetns()).toBe(home)
    expect(runInNetns(box.fd, currentNetns)).not.toBe(home)
    expect(currentNetns()).toBe(home)
  })

  test('createNetns() leaves two descriptors and closing them ends the namespace', () => {
    const before = openDescriptors()

    const box = createNetns()
    expect(openDescriptors()).toBe(before + 2)
    closeBox(box)

    expect(openDescriptors()).toBe(before)
  })

  test('the socket of createNetns() changes the namespace it was opened in', async () => {
    const { linkAddBridge } = await import('../../src/kernel/netlink/link.ts')
    const box = newBox()

    box.socket.apply(linkAddBridge({ name: 'inside' }))

    expect(linkNames(box)).toEqual(['inside'])
    expect(linkNames()).not.toContain('inside')
  })

  test('descriptors are not inherited by programs', () => {
    const box = newBox()

    expect(run(`test ! -e /proc/self/fd/${box.fd} && echo closed`).trim()).toBe('closed')
  })

  test('runInNetns() comes back when its task throws', () => {
    const home = currentNetns()
    const box = newBox()
    const before = openDescriptors()

    expect(() =>
      runInNetns(box.fd, () => {
        throw new Error('from inside')
      }),
    ).toThrow('from inside')

    expect(currentNetns()).toBe(home)
    expect(openDescriptors()).toBe(before)
  })

  test('runInNetns() can be nested', () => {
    const [a, b] = [newBox(), newBox()]

    const seen = runInNetns(a.fd, () => [currentNetns(), runInNetns(b.fd, currentNetns), currentNetns()])

    expect(seen[0]).toBe(seen[2])
    expect(seen[1]).not.toBe(seen[0])
  })

  test('runInNetns() refuses a task that goes on later', () => {
    const box = newBox()

    expect(() => runInNetns(box.fd, async () => {})).toThrow('synchronous')
  })

  test('runInNetns() stays where it is when the descriptor is no namespace', () => {
    const home = currentNetns()
    const fd = openSync('/dev/null', 'r')

    expect(() => runInNetns(fd, () => 'inside')).toThrow('EINVAL')

    expect(currentNetns()).toBe(home)
    closeSync(fd)
  })

  test.each(['unshare network namespace', 'open network namespace', 'enter network namespace'])(
    'a failure at "%s" leaves the thread at home and no descriptor',
    async step => {
      const home = currentNetns()
      const box = newBox()
      const before = openDescriptors()
      vi.stubEnv('TSRUN_FAULT', `${step}:fail`)
      vi.resetModules()
      const faulty = await import('../../src/kernel/netns.ts')

      const attempt = () => (step.startsWith('enter') ? faulty.openNetnsSocket(box.fd) : faulty.createNetns())

      expect(attempt).toThrow(`injected fault at "${step}"`)
      expect(currentNetns()).toBe(home)
      expect(openDescriptors()).toBe(before)
    },
  )

  test('a process that cannot come back kills itself', async () => {
    const box = newBox()
    vi.stubEnv('TSRUN_FAULT', 'return to the host namespace:fail')
    vi.resetModules()
    const faulty = await import('../../src/kernel/netns.ts')
    const kill = vi.spyOn(process, 'kill').mockReturnValue(true)

    expect(() => faulty.runInNetns(box.fd, () => 'result')).toThrow('injected fault')

    expect(kill).toHaveBeenCalledWith(process.pid, 'SIGKILL')
  })

  test('openNetnsSocket() serves the namespace from outside', async () => {
    const { getLink, linkSet } = await import('../../src/kernel/netlink/link.ts')
    const box = newBox()
    const socket = openNetnsSocket(box.fd)

    socket.apply(linkSet('lo', { up: true }))

    expect(getLink(socket, 'lo')?.up).toBe(true)
    socket.close()
  })
})
