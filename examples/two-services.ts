// Two services on a network of their own: a front end that asks a back end by its name. The back end has no published port;
// the host reaches the front end, and the front end reaches the back end.
// Run it as root, like examples/hello.ts.

import { setTimeout as sleep } from 'node:timers/promises'
import { Engine, type RunningContainer } from 'tsrun'

/** Answers with what the script in $SCRIPT prints, at /cgi-bin/ask. */
const server = `mkdir -p /www/cgi-bin
cat > /www/cgi-bin/ask <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
eval "$SCRIPT"
END
chmod +x /www/cgi-bin/ask
exec httpd -f -p 80 -h /www`

async function fetchWhenUp(url: string): Promise<string> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const response = await fetch(url).catch(() => undefined)
    if (response?.ok) return response.text()
    if (Date.now() > deadline) throw new Error(`${url} does not answer`)
    await sleep(20)
  }
}

await using engine = await Engine.open()
const network = await engine.networks.create({ name: 'shop', pools: [{ subnet: '10.98.0.0/24' }] })
const services: RunningContainer[] = []

async function start(name: string, script: string): Promise<RunningContainer> {
  const spec = {
    image: 'busybox',
    name,
    command: ['sh', '-c', server],
    env: [`SCRIPT=${script}`],
    networks: [{ network: network.name }],
  }
  const service = await engine.containers.run(spec, { output: 'discard' })
  services.push(service)
  return service
}

try {
  const prices = await start('prices', 'echo "tea costs 3"')
  const front = await start('front', `echo "prices says: $(wget -qO- http://prices/cgi-bin/ask)"`)
  await fetchWhenUp(`http://${prices.address}/cgi-bin/ask`)
  process.stdout.write(await fetchWhenUp(`http://${front.address}/cgi-bin/ask`))
} finally {
  for (const service of services) await service.remove()
  await engine.networks.remove(network.name)
}
