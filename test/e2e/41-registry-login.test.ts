// Who we are to a registry: basic and token authentication, and where the credentials are kept.

import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { held, orWaits } from '../helpers/held.ts'
import { Home, Registry, user } from '../helpers/registry.ts'
import { TokenAuthority } from '../helpers/token-authority.ts'

let home: Home
beforeEach(() => {
  home = new Home()
})
afterEach(() => home.remove())

const login = (host: string, password: string = user.password) =>
  home.tsrun(['login', '-u', user.name, '--password-stdin', host], { input: `${password}\n` })

/** Pushes busybox; the stderr. */
async function push(name: string): Promise<string> {
  await home.ok('tag', 'busybox', name)
  return (await home.tsrun(['push', name])).stderr
}

describe('basic authentication', () => {
  let registry: Registry
  beforeAll(async () => {
    registry = await Registry.start({ auth: 'basic' })
  })
  afterAll(() => registry?.stop())

  test('without a login nothing goes, and the error says what to do', async () => {
    const name = `${registry.host}/team/app:1`

    expect(await push(name)).toBe(
      `tsrun: cannot push "${name}": ${registry.host} wants a login (HTTP 401)\n  hint: log in first: \`tsrun login ${registry.host}\`\n`,
    )
    expect(await home.fails('pull', `${registry.host}/team/other:1`)).toMatch(
      /there is no repository "team\/other" on .*, or it is private \(HTTP 401.*\)\n {2}hint: check the spelling; a private repository needs `tsrun login 127/,
    )
  })

  test('a wrong password is refused, and nothing is kept', async () => {
    const { code, stderr } = await login(registry.host, 'wrong')

    expect(code).toBe(1)
    expect(stderr).toBe(
      `tsrun: cannot log in to ${registry.host}: ${registry.host} refuses the user name or password (HTTP 401)\n`,
    )
    expect(() => statSync(home.dockerConfig)).toThrow(/ENOENT/)
  })

  test('after a login push and pull go, and after a logout they do not', async () => {
    const name = `${registry.host}/team/app:1`

    expect(await login(registry.host)).toMatchObject({ code: 0, stdout: 'Login Succeeded\n' })
    expect(await push(name)).toBe('')
    await home.ok('rmi', name)
    await home.ok('pull', name)
    expect(await home.ok('logout', registry.host)).toBe(`Removing login credentials for ${registry.host}`)
    expect(await home.fails('pull', name)).toMatch(/or it is private/)
    expect(await home.ok('logout', registry.host)).toBe(`Not logged in to ${registry.host}`)
  })

  test("the file is docker's, for its owner alone, and what else is in it stays", async () => {
    mkdirSync(dirname(home.dockerConfig))
    const others = { auths: { 'other.test': { auth: 'eDp5' } }, HttpHeaders: { a: 'b' } }
    writeFileSync(home.dockerConfig, JSON.stringify(others), { mode: 0o644 })

    await login(registry.host)

    const auth = Buffer.from(`${user.name}:${user.password}`).toString('base64')
    expect(JSON.parse(readFileSync(home.dockerConfig, 'utf8'))).toEqual({
      ...others,
      auths: { ...others.auths, [registry.host]: { auth } },
    })
    expect(statSync(home.dockerConfig).mode & 0o777).toBe(0o600)
  })

  test('what docker and podman have written is read', async () => {
    const entry = { auth: Buffer.from(`${user.name}:${user.password}`).toString('base64') }
    mkdirSync(dirname(home.dockerConfig))
    mkdirSync(join(home.dir, 'run/containers'), { recursive: true })

    writeFileSync(home.dockerConfig, JSON.stringify({ auths: { [`https://${registry.host}/v2/`]: entry } }))
    expect(await push(`${registry.host}/team/docker:1`)).toBe('')
    writeFileSync(home.dockerConfig, '{}')
    writeFileSync(
      join(home.dir, 'run/containers/auth.json'),
      JSON.stringify({ auths: { [`${registry.host}/team`]: entry } }),
    )
    expect(await push(`${registry.host}/team/podman:1`)).toBe('')
  })

  test('a credential helper is asked and told over stdin, and the secret stands nowhere else', async () => {
    const helper = join(home.dir, 'bin/docker-credential-tests')
    const [log, kept] = [join(home.dir, 'arguments'), join(home.dir, 'kept')]
    writeFileSync(
      helper,
      `#!/bin/sh
echo "$*" >> ${log}
case $1 in
  store) cat > ${kept} ;;
  get) cat ${kept} 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
  erase) rm -f ${kept} ;;
esac
`,
    )
    chmodSync(helper, 0o755)
    mkdirSync(dirname(home.dockerConfig))
    writeFileSync(home.dockerConfig, JSON.stringify({ credsStore: 'tests' }))

    const { stdout, stderr } = await login(registry.host)
    expect({ stdout, stderr }).toEqual({ stdout: 'Login Succeeded\n', stderr: '' })
    expect(await push(`${registry.host}/team/helper:1`)).toBe('')
    expect(JSON.parse(readFileSync(kept, 'utf8'))).toEqual({
      ServerURL: registry.host,
      Username: user.name,
      Secret: user.password,
    })
    await home.ok('logout', registry.host)
    expect(await push(`${registry.host}/team/helper:1`)).toMatch(/wants a login/)
    expect(readFileSync(log, 'utf8').split('\n').sort().filter(Boolean)).toEqual(['erase', 'get', 'get', 'store'])
    expect(readFileSync(home.dockerConfig, 'utf8')).not.toMatch(/auth"/)
  })

  test('a helper that is not there, or fails, is named; what it says is not shown', async () => {
    mkdirSync(dirname(home.dockerConfig))
    writeFileSync(home.dockerConfig, JSON.stringify({ credHelpers: { [registry.host]: 'missing' } }))
    expect(await push(`${registry.host}/team/a:1`)).toMatch(
      /cannot run "docker-credential-missing": it is not in PATH\n {2}hint/,
    )
    const helper = join(home.dir, 'bin/docker-credential-missing')
    writeFileSync(helper, '#!/bin/sh\necho top secret; exit 3\n', { mode: 0o755 })

    const error = await push(`${registry.host}/team/a:1`)

    expect(error).toMatch(/docker-credential-missing cannot get: it ended with 3/)
    expect(error).not.toMatch(/secret/)
  })
})

describe('token authentication', () => {
  let authority: TokenAuthority
  let registry: Registry
  beforeAll(async () => {
    authority = await TokenAuthority.start({ user, publicRepositories: ['library/public'], refreshToken: 'refresh-me' })
    registry = await Registry.start({ auth: authority })
  })
  afterAll(async () => {
    await registry?.stop()
    await authority?.stop()
  })
  beforeEach(() => {
    authority.requests.length = 0
  })

  test('a login gets a refresh token, and the password is not kept', async () => {
    await login(registry.host)

    const { auths } = JSON.parse(readFileSync(home.dockerConfig, 'utf8'))
    expect(auths[registry.host]).toEqual({
      auth: Buffer.from(`${user.name}:`).toString('base64'),
      identitytoken: 'refresh-me',
    })
    expect(authority.requests).toEqual([{ method: 'GET', scopes: [], user: user.name, grant: undefined }])
  })

  test('a wrong password is refused by the token service', async () => {
    expect((await login(registry.host, 'wrong')).stderr).toMatch(
      /cannot log in to .*: .* refuses the user name or password \(HTTP 401 from its token service\)/,
    )
  })

  test('push asks for one token that may push, pull for one that may pull', async () => {
    const name = `${registry.host}/library/public:1`
    await login(registry.host)
    authority.requests.length = 0

    expect(await push(name)).toBe('')
    expect(authority.requests).toEqual([
      { method: 'POST', scopes: ['repository:library/public:pull,push'], user: undefined, grant: 'refresh_token' },
    ])
    authority.requests.length = 0
    await home.ok('rmi', name)
    await home.ok('pull', name)
    expect(authority.requests).toEqual([
      { method: 'POST', scopes: ['repository:library/public:pull'], user: undefined, grant: 'refresh_token' },
    ])
  })

  test('mounting asks for both repositories', async () => {
    await login(registry.host)
    await push(`${registry.host}/library/public:1`)

    await home.ok('tag', 'busybox', `${registry.host}/library/other:1`)

    expect(await home.ok('push', `${registry.host}/library/other:1`)).toMatch(/Mounted from library\/public/)
  })

  test('who has no account reads what is public, and is told what is not', async () => {
    await login(registry.host)
    await push(`${registry.host}/library/public:1`)
    await push(`${registry.host}/library/private:1`)
    await home.ok('logout', registry.host)
    const other = new Home()

    await other.ok('pull', `${registry.host}/library/public:1`)

    expect(await other.fails('pull', `${registry.host}/library/private:1`)).toMatch(
      /there is no repository "library\/private" on .*, or it is private/,
    )
    other.remove()
  })
})

describe('login', () => {
  test('without a terminal wants to be told everything', async () => {
    expect(await home.fails('login', 'registry.test')).toMatch(
      /standard input is no terminal to ask on\n {2}hint: use -u/,
    )
    expect(await home.fails('login', '-u', 'x', 'registry.test')).toMatch(/hint: use --password-stdin/)
    expect((await home.tsrun(['login', '--password-stdin', 'registry.test'])).stderr).toMatch(/goes with -u alone/)
    expect((await home.tsrun(['login', '-u', 'x', '--password-stdin', 'a b'])).stderr).toMatch(
      /"a b" is not a registry/,
    )
  })

  test('two that change the file at once do not undo each other', async () => {
    configure({ auths: { 'one.test': entry, 'two.test': entry, 'three.test': entry } })
    const goOn = await held(home, 'logout one.test', 'draft of the store')
    const other = home.ok('logout', 'two.test')
    await orWaits(other)

    expect((await goOn()).code).toBe(0)

    await other
    expect(config()).toEqual({ auths: { 'three.test': entry } })
    expect(readdirSync(dirname(home.dockerConfig))).toEqual(['config.json'])
  })

  test('what a killed one has left, which holds passwords, goes with the next', async () => {
    configure({ auths: { 'one.test': entry, 'two.test': entry } })
    writeFileSync(join(dirname(home.dockerConfig), 'theirs.99999999.tmp'), '')
    const env = { ...home.env, TSRUN_FAULT: 'draft of the store:kill' }
    expect((await home.tsrun(['logout', 'one.test'], { env })).signal).toBe('SIGKILL')
    expect(config()).toEqual({ auths: { 'one.test': entry, 'two.test': entry } })

    await home.ok('logout', 'two.test')

    expect(config()).toEqual({ auths: { 'one.test': entry } })
    expect(readdirSync(dirname(home.dockerConfig)).sort()).toEqual(['config.json', 'theirs.99999999.tmp'])
  })
})

const entry = { auth: Buffer.from('me:secret').toString('base64') }

function configure(value: object): void {
  mkdirSync(dirname(home.dockerConfig))
  writeFileSync(home.dockerConfig, JSON.stringify(value))
}

function config(): unknown {
  return JSON.parse(readFileSync(home.dockerConfig, 'utf8'))
}
