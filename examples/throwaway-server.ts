// A server for one test: started, waited for, used, and gone at the end of the block, however the block ends. Here it is a
// key-value store made of busybox's httpd; a database takes the same steps.
// Run it as root, like examples/hello.ts.

import { setTimeout as sleep } from 'node:timers/promises'
import { Engine, type Network, type RunningContainer } from 'tsrun'

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

class Store implements AsyncDisposable {
  readonly url: string
  readonly #engine: Engine
  readonly #network: Network
  readonly #container: RunningContainer

  private constructor(engine: Engine, network: Network, container: RunningContainer) {
    this.#engine = engine
    this.#network = network
    this.#container = container
    this.url = `http://${container.addresses[0]?.split('/')[0]}/cgi-bin/kv`
  }

  static async start(engine: Engine): Promise<Store> {
    // A network of its own: no two tests meet, and a free subnet is found for it.
    const network = await engine.networks.create({ name: `store-${process.pid}`, pools: [{}] })
    try {
      const container = await engine.containers.run({
        image: 'busybox',
        command: ['sh', '-c', program],
        networks: [{ network: network.name }],
      })
      container.stdout.resume()
      container.stderr.resume()
      const store = new Store(engine, network, container)
      await store.#answers().catch(async (error: unknown) => {
        await engine.containers.remove(container.id, { force: true })
        throw error
      })
      return store
    } catch (error) {
      await engine.networks.remove(network.name)
      throw error
    }
  }

  async get(key: string): Promise<string> {
    return (await fetch(`${this.url}?${encodeURIComponent(key)}`)).text()
  }

  async set(key: string, value: string): Promise<void> {
    await fetch(`${this.url}?${encodeURIComponent(key)}`, { method: 'POST', body: value })
  }

  async #answers(timeoutMs = 10_000): Promise<void> {
    const deadline = Date.now() + timeoutMs
    while (
      !(await fetch(this.url).then(
        response => response.ok,
        () => false,
      ))
    ) {
      if (Date.now() > deadline) throw new Error(`${this.url} does not answer`)
      await sleep(20)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine.containers.remove(this.#container.id, { force: true, volumes: true })
    await this.#engine.networks.remove(this.#network.name)
  }
}

await using engine = await Engine.open()
{
  await using store = await Store.start(engine)
  await store.set('greeting', 'hello')
  console.log(`greeting is ${await store.get('greeting')}`)
}
console.log(`${(await engine.containers.list({ all: true })).length} containers are left`)
