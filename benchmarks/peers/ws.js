/** The contract on bare `ws`: rooms are sets, and a room's message is spelled once for all who get it. */
'use strict'

const { createServer } = require('node:http')
const { WebSocketServer } = require('ws')
const contract = require('./contract')

const PING_MS = { '/ws/ward': 5000, '/ws/guardian': 20000 }
const connectionsOf = new Map() /* guardian's id → set of sockets */
const sessions = new Map() /* ward's id → session */

/* A string is encoded again for each who gets it, a buffer once for all. */
const encode = contract.tuned ? Buffer.from : String
const frame = (event, data) => encode(JSON.stringify({ event, data }))
const send = (socket, bytes) => socket.send(bytes, { binary: false })

function broadcast(session, event, data) {
  const bytes = frame(event, data)
  for (const socket of session.room) send(socket, bytes)
}

const peopleIn = (session) => new Set([...session.room].map((socket) => socket.user.id)).size

function start(socket, metadata = null) {
  const ward = socket.user
  if (sessions.has(ward.id)) return send(socket, frame('session-error', contract.failure('Session already active')))
  const session = contract.startedSession(ward, metadata)
  session.room = new Set()
  session.socket = socket
  sessions.set(ward.id, session)
  for (const guardian of session.guardians) {
    for (const connection of connectionsOf.get(guardian.id) ?? []) session.room.add(connection)
  }
  broadcast(session, 'guardian:session-started', contract.guardianSessionStarted(session))
  session.people = peopleIn(session)
  send(socket, frame('session-started', contract.sessionStarted(session, session.people)))
}

function stop(socket, reason) {
  const session = sessions.get(socket.user.id)
  if (!session) return send(socket, frame('session-error', contract.failure('No active session found')))
  sessions.delete(socket.user.id)
  session.room.add(socket)
  broadcast(session, 'session-ended', contract.sessionEnded(session, reason))
}

function locate(socket, data) {
  const session = sessions.get(socket.user.id)
  if (!session) return send(socket, frame('location-error', contract.failure('No active session found')))
  const update = contract.locationUpdated(session, data)
  if (!update) return send(socket, frame('location-error', contract.failure('Invalid payload')))
  broadcast(session, 'location-updated', update)
  send(socket, frame('location-acknowledged', contract.locationAcknowledged(session, session.people)))
}

const asWard = {
  'start-live-session': start,
  'stop-live-session': (socket) => stop(socket, 'manual_stop'),
  'update-location': locate
}

function onMessage(socket, text) {
  let message
  try {
    message = JSON.parse(text)
  } catch {
    return send(socket, frame('session-error', contract.failure('Invalid message')))
  }
  if (message.event === 'ping') return send(socket, frame('pong', { timestamp: contract.timestamp() }))
  const handler = socket.path === '/ws/ward' && asWard[message.event]
  if (!handler) return send(socket, frame('session-error', contract.failure('Unknown event')))
  handler(socket, message.data)
}

function onGuardian(socket) {
  const id = socket.user.id
  if (!connectionsOf.has(id)) connectionsOf.set(id, new Set())
  connectionsOf.get(id).add(socket)
  for (const wardId of contract.wardsOf(socket.user)) {
    const session = sessions.get(wardId)
    if (!session) continue
    session.room.add(socket)
    session.people = peopleIn(session)
    send(socket, frame('guardian:session-started', contract.guardianSessionStarted(session)))
  }
}

function onClose(socket) {
  const id = socket.user.id
  if (socket.path === '/ws/ward') {
    if (sessions.get(id)?.socket === socket) stop(socket, 'ward_disconnected')
    return
  }
  connectionsOf.get(id)?.delete(socket)
  for (const wardId of contract.wardsOf(socket.user)) {
    const session = sessions.get(wardId)
    if (session?.room.delete(socket)) session.people = peopleIn(session)
  }
}

function onConnection(socket, request) {
  const token = request.headers.authorization?.replace(/^Bearer /, '')
  try {
    socket.user = contract.authenticate(token)
  } catch (error) {
    send(socket, frame('session-error', contract.failure(error.message)))
    return socket.close(4401)
  }
  socket.path = request.url
  socket.alive = true
  socket.on('pong', () => { socket.alive = true })
  socket.on('message', (text) => onMessage(socket, text))
  socket.on('close', () => onClose(socket))
  if (socket.path === '/ws/guardian') onGuardian(socket)
}

/* One sweep for all, as ws's own documentation has it; a ward's is due more often than a guardian's. */
function keepAlive(server, path) {
  setInterval(() => {
    for (const socket of server.clients) {
      if (socket.path !== path) continue
      if (!socket.alive) {
        socket.terminate()
        continue
      }
      socket.alive = false
      socket.ping()
    }
  }, PING_MS[path])
}

const http = createServer((_, response) => response.writeHead(404).end())
const server = new WebSocketServer({ server: http, maxPayload: 65536, verifyClient: ({ req }) => req.url in PING_MS })
server.on('connection', onConnection)
keepAlive(server, '/ws/ward')
keepAlive(server, '/ws/guardian')
http.listen(contract.port, '127.0.0.1')
