import { expect, test } from 'vitest'
import { formatPorts, toPsRow } from '../../src/cli/container-view.ts'
import type { ContainerView } from '../../src/engine/container/container-service.ts'
import type { ContainerState } from '../../src/model/container.ts'

const run = { phase: 'running', pid: 1, pidStartTime: '1', startedAt: '', endpoints: [], cgroup: '' } as const
const exit = { exitCode: 1, signal: 0, oomKilled: false, startedAt: '', finishedAt: '' } as const

const viewWith = (state: ContainerState, args: readonly string[] = ['sh']): ContainerView => ({
  container: {
    id: 'a'.repeat(64),
    name: 'web',
    createdAt: '',
    image: { reference: 'busybox', id: 'sha256:0', layerDirs: [] },
    process: { args, env: [], cwd: '/', user: '' },
    spec: { image: 'busybox' },
    ports: [],
    stopSignal: 'SIGTERM',
  },
  state,
})

test.each([
  [{ status: 'running', run }, 'Up'],
  [{ status: 'paused', run }, 'Up (Paused)'],
  [{ status: 'exited', exit }, 'Exited (1) N/A'],
] as const)('toPsRow() of %j says "%s" where no time is known', (state, status) => {
  expect(toPsRow(viewWith(state), false)).toMatchObject({ Status: status, RunningFor: 'N/A' })
})

test('toPsRow() cuts a command between characters', () => {
  const row = toPsRow(viewWith({ status: 'created' }, ['🐳'.repeat(20)]), false)

  expect(row.Command).toBe(`"${'🐳'.repeat(9)}…"`)
})

test('formatPorts() joins runs of ports', () => {
  const port = (hostPort: number, containerPort: number, hostIp = '0.0.0.0') =>
    ({ protocol: 'tcp', hostIp, hostPort, containerPort }) as const

  expect(formatPorts([port(8001, 81), port(8000, 80), port(9, 82), port(1, 1, '::1')])).toBe(
    '[::1]:1->1/tcp, 0.0.0.0:8000-8001->80-81/tcp, 0.0.0.0:9->82/tcp',
  )
  const both = [80, 81, 82].flatMap(each => [port(each + 8000, each), port(each + 8000, each, '::')])
  expect(formatPorts(both)).toBe('0.0.0.0:8080-8082->80-82/tcp, [::]:8080-8082->80-82/tcp')
})
