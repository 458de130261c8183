// A server for one test: started, waited for, used, and gone at the end of the block, however the block ends. Here it is a
// key-value store made of busybox's httpd; a database takes the same steps.
// Run it as root, like examples/hello.ts.

import { setTimeout as sleep } from 'node:timers/promises'
import { Engine, type RunningContainer } from 'tsrun'

/** POST /cgi-bin/kv?KEY stores the body, GET returns it. */
const program = `mkdir -p /www/cgi-bin /data
cat > /www/cgi-bin/kv <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
key=/data/$(echo "$QUERY_STRING" | md5sum | cut -c 1-32)
if [ "$REQUEST_METHOD" = POST ]; then head -c "$CONTENT_LENGTH" > "$key"; else cat "$key"; fi
END
chmod +x /www/cgi-bin/kv
exec httpd -f -p 80 -h /www`

interface Store extends AsyncDisposable {
  get(key: string): Promise<string>
  set(key: string, value: string): Promise<void>
}

async function startStore(engine: Engine): Promise<Store> {
  // A network of its own: no two tests meet, and a free subnet is found for it.
  const network = await engine.networks.create({ name: `store-${process.pid}`, pools: [{}] })
  let container: RunningContainer | undefined
  const dispose = async () => {
    await container?.remove()
    await engine.networks.remove(network.name)
  }
  try {
    const spec = { image: 'busybox', command: ['sh', '-c', program], networks: [{ network: network.name }] }
    container = await engine.containers.run(spec, { output: 'discard' })
    const url = `http://${container.address}/cgi-bin/kv`
    await untilItAnswers(url)
    return {
      get: async key => (await fetch(`${url}?${encodeURIComponent(key)}`)).text(),
      set: async (key, body) => void (await fetch(`${url}?${encodeURIComponent(key)}`, { method: 'POST', body })),
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function untilItAnswers(url: string, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await fetch(url).catch(() => undefined))?.ok) {
    if (Date.now() > deadline) throw new Error(`${url} does not answer`)
    await sleep(20)
  }
}

await using engine = await Engine.open()
{
  await using store = await startStore(engine)
  await store.set('greeting', 'hello')
  console.log(`greeting is ${await store.get('greeting')}`)
}
console.log(`${(await engine.containers.list({ all: true })).length} containers are left`)
