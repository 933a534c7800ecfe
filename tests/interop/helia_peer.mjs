// A node of Helia in a process of its own: one command a line, one line of JSON each for an answer (see peers.py).
//
//     node helia_peer.mjs OPTIONS
//
// OPTIONS is JSON: "routers" and "gateways" are URLs that it fetches from over HTTP; "libp2p": true has it speak Bitswap
// instead, over TCP with Noise and Yamux. The first line is {"address": ...}. Then `add PATH`, `get CID PATH`,
// `connect MULTIADDR`, `serve` (a gateway of verified-fetch, an address), `resolve NAME` and `stop`.

import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'

const { createHeliaLight } = await import('helia')
const { unixfs } = await import('@helia/unixfs')
const { CID } = await import('multiformats/cid')

const options = JSON.parse(process.argv[2] ?? '{}')
const signal = () => AbortSignal.timeout(options.timeout ?? 60_000)

async function make () {
  if (!options.libp2p) {
    const { withHTTP } = await import('@helia/http')
    const http = { delegatedRouters: options.routers ?? [], recursiveGateways: options.gateways ?? [], allowInsecure: true, allowLocal: true }
    return await withHTTP(createHeliaLight(), http).start()
  }
  const [{ withLibp2pLight }, { withBitswap }, { tcp }, { noise }, { yamux }, { identify }] = await Promise.all([
    import('@helia/libp2p'), import('@helia/bitswap'), import('@libp2p/tcp'), import('@chainsafe/libp2p-noise'),
    import('@chainsafe/libp2p-yamux'), import('@libp2p/identify')])
  const libp2p = {
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() }
  }
  return await withBitswap(withLibp2pLight(createHeliaLight(), libp2p)).start()
}

const helia = await make()
const fs = unixfs(helia)

async function read (fs, cid, path) {
  const what = await fs.stat(cid, { signal: signal() })
  if (what.type === 'directory') {
    await mkdir(path, { recursive: true })
    for await (const entry of fs.ls(cid, { signal: signal() })) {
      await read(fs, entry.cid, `${path}/${entry.name}`)
    }
    return
  }
  await writeFile(path, fs.cat(cid, { signal: signal() }))
}

// As the profile unixfs-v1-2025 cuts: 1 MiB, raw leaves, 1024 links a node.
async function add (path) {
  const { fixedSize } = await import('ipfs-unixfs-importer/chunker')
  const { balanced } = await import('ipfs-unixfs-importer/layout')
  const how = { rawLeaves: true, chunker: fixedSize({ chunkSize: 1 << 20 }), layout: balanced({ maxChildrenPerNode: 1024 }) }
  if ((await stat(path)).isFile()) {
    return await fs.addBytes(await readFile(path), how)
  }
  let root = await fs.addDirectory()
  for (const name of (await readdir(path)).sort()) {
    root = await fs.cp(await add(`${path}/${name}`), root, name)
  }
  return root
}

async function serve () {
  const { createVerifiedFetchWithHelia } = await import('@helia/verified-fetch')
  const fetch = await createVerifiedFetchWithHelia(helia)
  const server = createServer(async (request, response) => {
    try {
      const found = await fetch(`ipfs://${request.url.replace(/^\/ipfs\//, '')}`, { headers: request.headers, signal: signal(), allowLocal: true })
      response.writeHead(found.status, Object.fromEntries(found.headers))
      request.method === 'HEAD' || found.body == null ? response.end() : Readable.fromWeb(found.body).pipe(response)
    } catch (problem) {
      response.writeHead(404).end(String(problem))
    }
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${server.address().port}`
}

const verbs = {
  add: async path => String(await add(path)),
  get: async (cid, path) => {
    const root = CID.parse(cid)
    if (options.libp2p) {
      return await read(fs, root, path) // of all who are connected
    }
    const session = helia.blockstore.createSession(root) // those who have the root are asked for what is below it
    try {
      await read(unixfs({ ...helia, blockstore: session }), root, path)
    } finally {
      session.close()
    }
  },
  connect: async address => { await helia.libp2p.dial((await import('@multiformats/multiaddr')).multiaddr(address), { signal: signal() }) },
  serve,
  resolve: async name => {
    const { ipns } = await import('@helia/ipns')
    for await (const found of ipns(helia).resolve(name, { signal: signal() })) {
      return found.value
    }
    throw new Error('nobody has a record of this name')
  },
  stop: async () => { await helia.stop() }
}

const address = options.libp2p ? String(helia.libp2p.getMultiaddrs()[0]) : ''
console.log(JSON.stringify({ address }))
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...words] = line.split(' ')
  try {
    console.log(JSON.stringify({ done: await verbs[verb](...words) ?? null }))
  } catch (problem) {
    console.log(JSON.stringify({ failed: `${problem.name}: ${problem.message}`, stack: problem.stack }))
  }
  if (verb === 'stop') {
    break
  }
}
process.exit(0)
