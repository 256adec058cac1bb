/**
 * What both Node peers share: the people, the token check and the payloads of PROTOCOL.md. They are run as their
 * libraries' documentation has it, and `ws` once more with a third word, `tuned`, as fast as we know to make it.
 *
 * SQLite comes as WebAssembly, so that nothing has to be compiled. Its file lock is slow, so one read
 * transaction stays open for good: a look-up then takes 12 µs, less than a native driver needs with a transaction
 * for each. It would not see a changed table; nothing changes in a run, and the advantage is the peer's.
 */
'use strict'

const { createSecretKey, randomUUID } = require('node:crypto')
const jwt = require('jsonwebtoken')
const { Database } = require('node-sqlite3-wasm')

const [port, file, tuned] = process.argv.slice(2)
/* A string, as jsonwebtoken's documentation has it, is tried as a public key first, at 0.4 ms a token. */
const secret = tuned ? createSecretKey(Buffer.from(process.env.LIVEGUARD_JWT_SECRET)) : process.env.LIVEGUARD_JWT_SECRET

const database = new Database(file, { readOnly: true })
database.exec('BEGIN')
const userById = database.prepare(
  'SELECT id, email, first_name AS firstName, last_name AS lastName, is_active AS isActive FROM users WHERE id = ?')
const guardiansOf = database.prepare(
  'SELECT u.id, u.first_name AS firstName, u.last_name AS lastName, u.email FROM guardians g ' +
  "JOIN users u ON u.id = g.guardian_id WHERE g.ward_id = ? AND g.status = 'accepted'")
const wardsOf = database.prepare("SELECT ward_id AS id FROM guardians WHERE guardian_id = ? AND status = 'accepted'")

const refusal = (message) => Object.assign(new Error(message), { refusal: true })

/** The user whom a token names, or an Error with the sentence of PROTOCOL.md section 2. */
function authenticate(token) {
  if (!token) throw refusal('Authentication required')
  let claims
  try {
    claims = jwt.verify(token, secret, { algorithms: ['HS256'] })
  } catch (error) {
    throw refusal(error.name === 'TokenExpiredError' ? 'Token expired' : 'Invalid token')
  }
  if (!claims.exp) throw refusal('Invalid token')
  const user = userById.get([claims.sub ?? claims.userId])
  if (!user) throw refusal('User not found')
  if (!user.isActive) throw refusal('Account inactive')
  return user
}

const timestamp = () => new Date().toISOString()
let seq = 0

function startedSession(ward, metadata) {
  return {
    ward, metadata, sessionId: randomUUID(), startTime: timestamp(), roomName: `ward:${ward.id}`,
    guardians: guardiansOf.all([ward.id]), begun: process.hrtime.bigint(), seq: ++seq, lastLocation: null
  }
}

const sessionStarted = (session, connectedGuardians) => ({
  sessionId: session.sessionId, startTime: session.startTime, roomName: session.roomName,
  guardians: session.guardians, connectedGuardians, timestamp: timestamp()
})

const guardianSessionStarted = ({ ward, ...session }) => ({
  wardId: ward.id, wardEmail: ward.email, sessionId: session.sessionId, startTime: session.startTime,
  timestamp: timestamp(), wardFirstName: ward.firstName, wardLastName: ward.lastName, metadata: session.metadata,
  lastLocation: session.lastLocation, state: 'active', seq: session.seq
})

const sessionEnded = ({ ward, ...session }, reason) => ({
  sessionId: session.sessionId, wardId: ward.id, wardEmail: ward.email, startTime: session.startTime,
  endTime: timestamp(), duration: Math.round(Number(process.hrtime.bigint() - session.begun) / 1e9), reason,
  timestamp: timestamp(), seq: ++seq
})

const within = (value, limit) => typeof value === 'number' && value >= -limit && value <= limit

/** The `location-updated` payload, or null where the client's is senseless. */
function locationUpdated(session, data) {
  if (!data || !within(data.latitude, 90) || !within(data.longitude, 180)) return null
  const now = timestamp()
  session.lastLocation = { ...data, timestamp: now }
  return {
    wardId: session.ward.id, wardEmail: session.ward.email, sessionId: session.sessionId,
    location: session.lastLocation, timestamp: now
  }
}

const locationAcknowledged = (session, guardianCount) => ({
  sessionId: session.sessionId, timestamp: timestamp(), status: 'broadcasted', guardianCount
})

const failure = (message) => ({ message, timestamp: timestamp() })

module.exports = {
  port: Number(port), tuned: Boolean(tuned), authenticate, timestamp, startedSession, sessionStarted,
  guardianSessionStarted, sessionEnded, locationUpdated, locationAcknowledged, failure,
  wardsOf: (guardian) => wardsOf.all([guardian.id]).map((ward) => ward.id)
}
