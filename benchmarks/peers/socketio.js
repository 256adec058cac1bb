/** The contract on Socket.IO for Node, with its own rooms: a session's is `ward:{id}`, a person's `user:{id}`. */
'use strict'

const { createServer } = require('node:http')
const { Server } = require('socket.io')
const contract = require('./contract')

const sessions = new Map() /* ward's id → session */
const http = createServer((_, response) => response.writeHead(404).end())
const io = new Server(http, { maxHttpBufferSize: 65536, pingInterval: 20000, pingTimeout: 10000 })

const roomOf = (name) => io.sockets.adapter.rooms.get(name) ?? new Set()
const peopleIn = (session) =>
  session.guardians.filter((guardian) => roomOf(`user:${guardian.id}`).size > 0).length

function start(socket, metadata) {
  const ward = socket.data.user
  if (sessions.has(ward.id)) return socket.emit('session-error', contract.failure('Session already active'))
  const session = contract.startedSession(ward, metadata ?? null)
  session.socket = socket
  sessions.set(ward.id, session)
  for (const guardian of session.guardians) io.in(`user:${guardian.id}`).socketsJoin(session.roomName)
  io.to(session.roomName).emit('guardian:session-started', contract.guardianSessionStarted(session))
  session.people = peopleIn(session)
  socket.emit('session-started', contract.sessionStarted(session, session.people))
}

function stop(socket, reason) {
  const session = sessions.get(socket.data.user.id)
  if (!session) return socket.emit('session-error', contract.failure('No active session found'))
  sessions.delete(socket.data.user.id)
  const ended = contract.sessionEnded(session, reason)
  io.to(session.roomName).emit('session-ended', ended)
  socket.emit('session-ended', ended)
  io.in(session.roomName).socketsLeave(session.roomName)
}

function locate(socket, data) {
  const session = sessions.get(socket.data.user.id)
  if (!session) return socket.emit('location-error', contract.failure('No active session found'))
  const update = contract.locationUpdated(session, data)
  if (!update) return socket.emit('location-error', contract.failure('Invalid payload'))
  io.to(session.roomName).emit('location-updated', update)
  socket.emit('location-acknowledged', contract.locationAcknowledged(session, session.people))
}

function onDisconnect(socket) {
  const { user } = socket.data
  if (sessions.get(user.id)?.socket === socket) stop(socket, 'ward_disconnected')
  for (const wardId of contract.wardsOf(user)) {
    const session = sessions.get(wardId)
    if (session) session.people = peopleIn(session)
  }
}

function onConnection(socket) {
  const { user } = socket.data
  socket.join(`user:${user.id}`)
  for (const wardId of contract.wardsOf(user)) {
    const session = sessions.get(wardId)
    if (!session) continue
    socket.join(session.roomName)
    session.people = peopleIn(session)
    socket.emit('guardian:session-started', contract.guardianSessionStarted(session))
  }
  socket.on('start-live-session', (metadata) => start(socket, metadata))
  socket.on('stop-live-session', () => stop(socket, 'manual_stop'))
  socket.on('update-location', (data) => locate(socket, data))
  socket.on('ping', () => socket.emit('pong', { timestamp: contract.timestamp() }))
  socket.on('disconnect', () => onDisconnect(socket))
}

io.use((socket, next) => {
  try {
    socket.data.user = contract.authenticate(socket.handshake.auth.token)
    next()
  } catch (error) {
    next(error)
  }
})
io.on('connection', onConnection)
http.listen(contract.port, '127.0.0.1')
