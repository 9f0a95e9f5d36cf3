// The flooded server in Fastify: node server.mjs SAMPLE_MS MAX_RSS_BYTES
import underPressure from '@fastify/under-pressure'
import Fastify from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'

const [sampleInterval, maxRssBytes] = process.argv.slice(2).map(Number)
const HOLD_MS = 1000
const PIECES = 8

// Ends with whoever started it.
process.stdin.on('end', () => process.exit(0)).resume()

const app = Fastify()
// Outside the encapsulated routes below, so that probes are never shed.
app.get('/livez', async () => 'live\n')

app.register(async (work) => {
  await work.register(underPressure, { maxRssBytes, sampleInterval })
  work.post('/alloc', async (request) => {
    const start = performance.now()
    const mb = Number(request.query.mb)
    const held = []
    if (request.query.style === 'late') {
      for (let piece = 0; piece < PIECES; piece++) {
        const due = start + (HOLD_MS / 2 / PIECES) * piece
        await sleep(Math.max(0, due - performance.now()))
        held.push(Buffer.alloc((mb * 1e6) / PIECES, 0xa5))
      }
    } else {
      held.push(Buffer.alloc(mb * 1e6, 0xa5))
    }
    await sleep(Math.max(0, start + HOLD_MS - performance.now()))
    return `held ${held.reduce((sum, piece) => sum + piece.length, 0)}\n`
  })
})

await app.listen({ host: '127.0.0.1', port: 0 })
console.log(`listening on 127.0.0.1:${app.server.address().port}`)
