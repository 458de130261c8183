// Creates a network, runs a container on it, streams its output, and takes everything away again.
// Run it as root: node examples/hello.js, after compiling, or with any runtime that takes TypeScript.

import { Engine } from 'tsrun'

await using engine = await Engine.open()
const network = await engine.networks.create({ name: 'hello', pools: [{ subnet: '10.99.0.0/24' }] })
try {
  const job = await engine.containers.run({
    image: 'busybox',
    command: ['sh', '-c', 'hostname; ip -4 -o addr show dev eth0; for i in 1 2 3; do echo line $i; done'],
    hostname: 'hello',
    networks: [{ network: network.name }],
    autoRemove: true,
  })
  for await (const chunk of job.stdout) process.stdout.write(chunk)
  console.log(`exit code ${await job.wait()}`)
} finally {
  await engine.networks.remove(network.name)
}
