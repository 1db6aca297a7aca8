// One member of the farm: node app.js NAME PORT
//
// Sessions are as the README of express-session shows them: regenerated at
// log-in, emptied and regenerated at log-out, kept in Redis by connect-redis.
'use strict'

const escapeHtml = require('escape-html')
const express = require('express')
const session = require('express-session')
const { createClient } = require('redis')
const { RedisStore } = require('connect-redis')

const [name, port] = process.argv.slice(2)
const password = 'correct horse'
const idle = Number(process.env.IDLE) // seconds that a session may rest; NaN for connect-redis's default

const redis = createClient({ url: process.env.REDIS_URL })
redis.on('error', (err) => console.error(err))

const app = express()
app.use(express.urlencoded())
app.use(session({
  store: new RedisStore(idle ? { client: redis, ttl: idle } : { client: redis }),
  secret: 'keyboard cat',
  resave: false,
  saveUninitialized: false
}))

function page (title, body) {
  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>${title} on ${name}</title></head>
<body><h1>${title} on ${name}</h1>
${body}
</body></html>
`
}

function signedIn (req, res, next) {
  if (req.session.user) next()
  else res.redirect('/login')
}

const nav = '<p><a href="/account">Account</a> <a href="/cart">Cart</a> <a href="/logout">Log out</a></p>'
const echo = (req) => `<p>Signed in as ${escapeHtml(req.session.user)}</p>`

app.get('/', (req, res) => {
  res.send(page('Welcome', '<p><a href="/login">Log in</a></p>'))
})

app.get('/login', (req, res) => {
  res.send(page('Log in', `<form action="/login" method="post">
Name: <input name="user"> Password: <input name="pass" type="password">
<input type="submit" value="Log in"></form>`))
})

app.post('/login', (req, res, next) => {
  const { user, pass } = req.body ?? {}
  if (!/^u\d{1,6}$/.test(user) || pass !== password) {
    res.status(401).send(page('Log-in failed', '<p><a href="/login">Try again</a></p>'))
    return
  }
  req.session.regenerate((err) => {
    if (err) return next(err)
    req.session.user = user
    req.session.save((err) => {
      if (err) return next(err)
      res.redirect('/account')
    })
  })
})

app.get('/account', signedIn, (req, res) => {
  res.send(page('Account', echo(req) + nav))
})

app.get('/whoami', (req, res) => {
  if (req.session.user) res.json({ user: req.session.user, member: name })
  else res.status(401).json({ error: 'not signed in' })
})

function cart (req, res) {
  const items = (req.session.cart || []).map((item) => `<li>${escapeHtml(item)}</li>`).join('')
  res.send(page('Cart', `${echo(req)}<ul>${items}</ul>
<form action="/cart" method="post"><input name="item"><input type="submit" value="Add"></form>${nav}`))
}

app.get('/cart', signedIn, cart)

app.post('/cart', signedIn, (req, res) => {
  req.session.cart = [...(req.session.cart || []), String(req.body?.item)]
  cart(req, res)
})

// A report takes its time, and the session remembers when it was last asked for.
app.get('/report', signedIn, (req, res) => {
  req.session.reported = Date.now()
  setTimeout(() => res.send(page('Report', echo(req) + nav)), 1500)
})

app.get('/logout', (req, res) => {
  res.send(page('Log out', '<form action="/logout" method="post"><input type="submit" value="Log out"></form>'))
})

app.post('/logout', (req, res, next) => {
  req.session.user = null
  req.session.save((err) => {
    if (err) return next(err)
    req.session.regenerate((err) => {
      if (err) return next(err)
      res.redirect('/')
    })
  })
})

redis.connect().then(() => app.listen(Number(port), '127.0.0.1'))
