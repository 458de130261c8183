import { afterAll, beforeAll, expect, test } from 'vitest'
import { attach, type Client, type Session, Workbench } from './harness.ts'

let bench: Workbench
let dir: string
let session: Session
let owner: Client
beforeAll(async () => {
  bench = new Workbench()
  dir = bench.box()
  session = await bench.start(
    bench.config(dir, ['sh', '-c', 'touch /tmp/inside; exec sleep 1000'], { process: { init: true } }),
  )
  owner = await attach(`${dir}/attach.sock`)
  owner.own()
  session.go()
  expect(await session.outcome()).toEqual({ kind: 'started' })
})
afterAll(async () => {
  process.kill(session.pid, 'SIGKILL')
  await owner.exit()
  owner.release()
  bench.dispose()
})

test('exec sees the processes, files and host name of the container', async () => {
  const result = await bench.exec(session.pid, ['sh', '-c', 'hostname; ls /tmp; ps -o comm | grep -c ^sleep'])

  expect(result.outcome).toEqual({ kind: 'started' })
  expect(result).toMatchObject({ code: 0, stdout: 'box\ninside\n1\n' })
})
